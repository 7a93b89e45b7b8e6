"""What ends a worker: a thread that hangs, breaks or ends unasked; and what does not."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from sheaf.core.last_words import LastWords, last_words
from sheaf_worker import vitals as module
from sheaf_worker.vitals import BLIND_S, LATE_S, MAIN, SILENT_S, STUCK_S, Vitals
from tests.worker_parts import fields_of


class Ended(BaseException):
    """In place of the end of the process."""


class Bed:
    """Vitals with a clock of their own, whose process does not really end."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.now = 1000.0
        self.turned = self.beaten = self.now
        self.farewells = 0
        self.farewell: Callable[[], None] = lambda: None
        self.statuses: list[int] = []
        self.timers: list[float] = []
        self.vitals = Vitals(
            "worker-1-ab",
            LastWords(data, "worker-1"),
            self._say_farewell,
            lambda: self.turned,
            lambda: self.beaten,
            5.0,
        )
        self.vitals._looked = self.vitals._awake = self.now

    def _say_farewell(self) -> None:
        self.farewells += 1
        self.farewell()

    def exit(self, status: int) -> NoReturn:
        self.statuses.append(status)
        raise Ended

    def look(self, after_s: float = 1.0, *, turns: bool = True, beats: bool = True) -> str | None:
        """Look at everything; return why the process was ended, if it was."""
        self.now += after_s
        if turns:
            self.turned = self.now
        if beats:
            self.beaten = self.now
        with contextlib.suppress(Ended):
            self.vitals._look(self.now)
        return self.cause if self.statuses else None

    @property
    def cause(self) -> str:
        (death,) = last_words(self.data)
        return death.cause


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    bed = Bed(tmp_path)
    monkeypatch.setattr(os, "_exit", bed.exit)
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: bed.timers.append(seconds))
    clock = SimpleNamespace(monotonic=lambda: bed.now, sleep=lambda seconds: None)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "FAREWELL_S", 0.2)
    yield bed
    faulthandler.cancel_dump_traceback_later()


def thread(target: Callable[[], Any], name: str) -> threading.Thread:
    return threading.Thread(target=target, name=name, daemon=True)


def test_while_all_goes_round_nothing_is_ended(bed: Bed) -> None:
    for _ in range(200):
        assert bed.look() is None
    assert bed.vitals.well
    assert (bed.farewells, bed.timers) == (0, [])


def test_a_main_loop_that_does_not_turn_ends_the_process(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """Its leases are not renewed before that: others take its batches."""
    for _ in range(int(STUCK_S) - 1):
        assert bed.look(turns=False) is None
        assert bed.vitals.well

    cause = bed.look(turns=False) or ""

    assert not bed.vitals.well
    assert "the main loop has made no progress for 30 s; it is in " in cause
    assert f"(in the thread {MAIN!r})" in cause
    assert (bed.statuses, bed.farewells) == ([1], 1)
    assert bed.timers, "should even that hang, the kernel ends the process"
    fields = fields_of(caplog.records, "a part of the worker hangs; the process ends")
    assert fields["part"] == MAIN and "test_vitals.py" in fields["stack"]


def test_a_heartbeat_that_is_silent_ends_the_process(bed: Bed) -> None:
    for _ in range(int(SILENT_S)):
        assert bed.look(beats=False) is None

    assert "no heartbeat was sent for 91 s (in the thread 'heartbeat')" in (bed.look(beats=False) or "")


def test_a_process_that_was_stopped_itself_is_not_taken_for_hung(bed: Bed) -> None:
    """SIGSTOP, a suspended machine: nothing of ours could move, so the time does not count."""
    bed.look()

    assert bed.look(after_s=10 * SILENT_S, turns=False, beats=False) is None
    assert bed.vitals.well
    for _ in range(int(STUCK_S) - 1):
        assert bed.look(turns=False) is None
    assert bed.look(turns=False) is not None, "from then on it does"


def test_a_short_delay_of_the_look_itself_is_no_stop(bed: Bed) -> None:
    for _ in range(int(STUCK_S / BLIND_S)):
        bed.look(after_s=BLIND_S, turns=False)

    assert bed.statuses == [1]


def test_a_thread_that_ends_unasked_ends_the_process(bed: Bed) -> None:
    part = thread(lambda: None, "fetcher")
    bed.vitals.guard([part])
    part.join(60)

    assert "the thread ended although it was not asked to (in the thread 'fetcher')" in (bed.look() or "")
    bed.vitals.close()


def test_when_the_worker_stops_its_threads_may_end_and_its_loop_too(bed: Bed) -> None:
    part = thread(lambda: None, "fetcher")
    part.start()
    part.join(60)
    bed.vitals._parts = (part,)
    bed.vitals.stopping(200.0)

    for _ in range(int(SILENT_S) + 10):
        assert bed.look(turns=False, beats=False) is None
    assert bed.vitals.well


def test_a_worker_that_does_not_end_in_time_is_ended(bed: Bed) -> None:
    bed.vitals.stopping(20.0)
    assert bed.look(after_s=20 + LATE_S, turns=False) is None

    assert "it did not end in time after it was asked to stop" in (bed.look(turns=False) or "")


def test_an_exception_ends_the_process_with_its_reason(bed: Bed) -> None:
    with pytest.raises(Ended):
        bed.vitals.end("committer", ValueError("no such thing"))

    assert bed.cause == "ValueError: no such thing (in the thread 'committer')"
    assert bed.vitals.ending
    assert (bed.statuses, bed.farewells) == ([1], 1)


@pytest.mark.parametrize(
    ("broken", "apart"), [("committer", False), (MAIN, False), ("heartbeat", True), ("fetcher", True)]
)
def test_items_are_suspected_only_of_what_has_to_do_with_them(bed: Bed, broken: str, apart: bool) -> None:
    assert not bed.vitals.broke_apart_from_items
    with pytest.raises(Ended):
        bed.vitals.end(broken, ValueError())
    assert bed.vitals.broke_apart_from_items is apart


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_farewell_that_fails_keeps_nobody(bed: Bed, how: str) -> None:
    """Without Redis, say: the process ends all the same."""
    goes_on = threading.Event()

    def fail() -> None:
        if how == "hangs":
            goes_on.wait(60)
        raise RuntimeError("no farewell")

    bed.farewell = fail
    with pytest.raises(Ended):
        bed.vitals.end("fetcher", ValueError())

    assert bed.statuses == [1]
    goes_on.set()


def test_only_the_first_reason_counts(bed: Bed) -> None:
    """What breaks while the process ends is a consequence."""
    for error in (ValueError("first"), KeyError("second")):
        with pytest.raises(Ended):
            bed.vitals.end("fetcher", error)

    assert bed.cause.startswith("ValueError: first")
    assert bed.farewells == 1


def test_its_thread_looks_until_all_has_ended_as_it_should(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code that keeps the interpreter's lock is ended by a timer, which each look winds up again."""
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    looks, frozen = threading.Event(), []
    monkeypatch.setattr(bed.vitals, "_look", lambda now: looks.set())
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **_: frozen.append(seconds))
    part = thread(lambda: None, "fetcher")
    bed.vitals.guard([part])
    assert looks.wait(60)
    assert list((bed.data / ".sheaf/last-words").glob("*")), "room for its last words, while there is any"

    bed.vitals.close()
    bed.vitals.join(60)

    assert not bed.vitals.is_alive()
    assert frozen[0] == module.FROZEN_S
    assert list((bed.data / ".sheaf/last-words").glob("*")) == [], "who ends in order leaves no words"


def test_where_a_thread_stands_that_is_not_there_is_not_known() -> None:
    assert module._stack_of("unknown") == []
