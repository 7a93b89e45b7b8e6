"""Which runs are reported as making no progress, when, and when the report is taken back."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sheaf.broker.claims import Snapshot
from sheaf.broker.lock import LockStatus
from sheaf.broker.worker_registry import Problem, WorkerInfo
from sheaf.core.errors import RedisUnavailable
from sheaf.output.output import Output
from sheaf.run.run import Run
from sheaf.scheduling.stall import FIELD, AtHand, Kind, at_hand_text
from sheaf_worker.claim import progress_watchdog as module
from sheaf_worker.claim.progress_watchdog import CHECK_S, STALL_S, ProgressWatchdog
from tests.runs import a_manifest
from tests.worker_parts import FakeQueue, fields_of, make_context, messages

RUN = "run-1"
FREE = LockStatus("", "", 7, 0.0, 0.0, 0)


class Bed:
    """A watchdog with a clock of its own, and a reconciler that says what is settled of one run."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.queue = FakeQueue()
        self.watchdog = ProgressWatchdog(make_context(data, self.queue))
        self.now = 1000.0
        self.settled: int | None = 3
        self.run = Run(data, a_manifest(RUN, 10, output="o.jsonl"))

    def check(self, after_s: float) -> None:
        self.now += after_s
        reconciler: Any = SimpleNamespace(unfinished=[self.run], settled=lambda run: self.settled)
        self.watchdog.check(reconciler)

    def stall(self) -> None:
        self.check(CHECK_S)
        self.check(STALL_S)

    def problem(self) -> Problem | None:
        return self.queue.registry.problems.get(RUN)

    def text(self) -> str:
        problem = self.problem()
        return "" if problem is None else problem.text

    def slow(self) -> None:
        """A worker says that it has an item of the run in progress."""
        fields = {"label": "w", FIELD: at_hand_text({RUN: AtHand(1, 5, 70.0, 0.0, False)})}
        self.queue.registry.infos = [WorkerInfo("w-1", fields, 0.0)]


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Bed:
    bed = Bed(tmp_path)
    monkeypatch.setattr(module, "lock_status", lambda connection, name: FREE)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: bed.now))
    caplog.set_level(logging.DEBUG, logger="sheaf_worker")
    return bed


def test_a_run_is_reported_after_a_minute_without_progress(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.check(CHECK_S)
    bed.check(STALL_S - 1)
    assert bed.problem() is None

    bed.check(CHECK_S)

    assert "neither queued nor " in bed.text()
    assert bed.problem() == Problem(bed.text(), "worker-1", 0.0, refused=False)
    assert messages(caplog.records, "warning") == ["run makes no progress"]


def test_what_makes_progress_is_not_reported(bed: Bed) -> None:
    for settled in range(10):
        bed.settled = settled
        bed.check(STALL_S - 1)

    assert bed.problem() is None


def test_it_does_not_look_all_the_time(bed: Bed) -> None:
    """Each look reads an index."""
    bed.check(CHECK_S)
    bed.settled = 4

    bed.check(CHECK_S - 1)
    assert bed.watchdog._seen[RUN][0] == 3
    bed.check(1)
    assert bed.watchdog._seen[RUN][0] == 4


def test_the_report_is_taken_back_with_the_first_progress(bed: Bed) -> None:
    bed.stall()
    assert bed.problem() is not None
    bed.settled = 4

    bed.check(CHECK_S)

    assert bed.problem() is None


def test_what_another_part_reports_is_left_as_it_is(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """It knows more; nor is it taken back here."""
    other = Problem("the disk is full", "worker-2", 0.0)
    bed.queue.registry.problems[RUN] = other
    bed.stall()
    assert bed.problem() is other
    assert messages(caplog.records) == []

    del bed.queue.registry.problems[RUN]
    bed.check(CHECK_S)
    assert bed.problem() is not None
    bed.queue.registry.problems[RUN] = other
    bed.settled = 4
    bed.check(CHECK_S)
    assert bed.problem() is other


def test_the_log_says_it_once_and_again_when_the_reason_is_another(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.stall()
    bed.check(CHECK_S)
    assert len(messages(caplog.records)) == 1

    bed.queue.shot = Snapshot(set(), {f"{RUN}_1": ("w-9", 5000)})
    bed.check(CHECK_S)

    assert len(messages(caplog.records)) == 2
    assert bed.problem() is not None
    assert "w-9, which is silent" in bed.text()


def test_slow_items_are_no_warning(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.slow()
    bed.stall()

    assert fields_of(caplog.records, "run makes no progress")["levelname"] == "INFO"


def test_a_programs_run_is_no_warning(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """The program logs it itself."""
    bed.run = Run(bed.data, a_manifest(RUN, 10, output="o.jsonl", session="session-1"))
    bed.stall()

    assert fields_of(caplog.records, "run makes no progress")["levelname"] == "INFO"


@pytest.mark.parametrize("settled", [None, 10])
def test_what_cannot_be_read_or_is_done_is_not_watched(bed: Bed, settled: int | None) -> None:
    """The first is reported by others, with its reason."""
    bed.settled = settled
    bed.stall()
    assert bed.problem() is None

    bed.settled = 3
    bed.check(CHECK_S)
    assert bed.problem() is None, "the time counts from now on"


def test_who_blocks_the_output_is_named(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "blocker", lambda path: SimpleNamespace(describe=lambda: f"b holds {path.name}"))
    fields = {"label": "w", FIELD: at_hand_text({RUN: AtHand(0, 0, 0.0, 0.0, True)})}
    bed.queue.registry.infos = [WorkerInfo("w-1", fields, 0.0)]

    bed.stall()

    assert bed.problem() is not None
    assert "b holds o.jsonl" in bed.text()
    assert bed.watchdog._seen[RUN][2] is Kind.UNCOMMITTED


def test_an_output_without_an_index_has_no_blocker(bed: Bed) -> None:
    """What is wrong with it is said by who commits to it."""
    assert bed.watchdog._blocker("o.jsonl") == ""
    Output.create(bed.data / "o.jsonl").close()
    assert bed.watchdog._blocker("o.jsonl") == "", "its fence is free"


def test_without_redis_nothing_is_reported(bed: Bed) -> None:
    """The recovery's thread, which calls it, waits for Redis as a whole."""
    bed.check(CHECK_S)
    bed.queue.outage.begin()

    with pytest.raises(RedisUnavailable):
        bed.check(STALL_S)
