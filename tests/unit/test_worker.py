"""The worker's loop and its end: what goes to the pool and comes back, and what is released or handed back when."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

from sheaf.broker.claims import Claims
from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.errors import LockTimeout, SettingsError
from sheaf.core.last_words import last_words
from sheaf.core.settings import Settings
from sheaf.output.output import Output
from sheaf.run.items import Done, Failed, Results
from sheaf.run.run import Run
from sheaf.run.task_spec import TaskSpec
from sheaf.scheduling.stall import FIELD
from sheaf_worker import vitals
from sheaf_worker import worker as module
from sheaf_worker.claim import recovery
from sheaf_worker.claim.in_flight import InFlightBatch
from sheaf_worker.commit import committer
from sheaf_worker.pool.dispatcher import RELEASE_S
from sheaf_worker.pool.pool import ItemBlock, Pool
from sheaf_worker.worker import Worker
from tests.console import wait_until
from tests.runs import numbered, write_run
from tests.worker_parts import FakeHost, FakeLock, FakeQueue, LockState, fields_of, messages

RUN = "20260101-000000-aaaaaa"


class InstantPool(Pool):
    """Without processes: does each item as soon as it is polled, unless `stuck`."""

    stuck = False
    breaks = False

    def start(self) -> None:
        pass

    def poll(self, timeout_s: float) -> list[tuple[str, Results]]:
        if self.breaks:
            raise RuntimeError("broken on purpose")
        if self.stuck:
            return super().poll(timeout_s)
        results: list[tuple[str, Results]] = [
            (run, [Done(item.index, b"%d\n" % item.index) for item in self.backlog.drop(run)])
            for run in list(self.backlog.runs())
        ]
        return results or super().poll(min(timeout_s, 0.02))


class Bed:
    """A worker without Redis and without processes; its threads run only while run() does."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.queue: FakeQueue
        connection: Any = LockState()
        given: dict[str, Any] = {"pool_size": 1, "heartbeat_s": 0.05, "commit_s": 0.05, "grace_s": 5.0, "label": "w"}
        self.worker = Worker(Settings(data_dir=data, tasks_dir=data / "tasks", **given | settings), connection)
        pool: Any = self.worker._pool
        self.pool: InstantPool = pool

    def submit(self, items: int = 4, task: str = "t:f") -> Run:
        run = write_run(self.data, numbered(items), RUN, TaskSpec(task), batch_size=4)
        output = Output.create(self.data / "o.jsonl")
        output.register_run(RUN, items, 4)
        output.close()
        return run

    def hold(self, run: Run, *numbers: int) -> None:
        """Batches that were claimed and given to the loop."""
        for number in numbers:
            batch = run.manifest.batch(number)
            indexes, texts = run.read(batch)
            held = InFlightBatch.of(batch, run, indexes)
            self.worker._in_flight.add(held)
            self.worker._fetcher.taken.put((held, ItemBlock(indexes, texts)))

    def in_flight(self) -> list[str]:
        return self.worker._in_flight.ids()

    def close(self) -> None:
        # Also after a test that has failed half-way: else it would end this process.
        self.worker._vitals._done.set()
        self.pool.close(0)
        self.worker._fetcher._outputs.close()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    beds: list[Bed] = []
    queues: list[FakeQueue] = []

    def make_queue(connection: object) -> FakeQueue:
        queues.append(FakeQueue())
        return queues[-1]

    def make_bed(**settings: Any) -> Bed:
        beds.append(Bed(tmp_path, **settings))
        beds[-1].queue = queues[-1]
        return beds[-1]

    monkeypatch.setattr(module, "BatchQueue", make_queue)
    monkeypatch.setattr(module, "Pool", InstantPool)
    monkeypatch.setattr(module, "Host", FakeHost)
    monkeypatch.setattr(committer, "FairLock", FakeLock)
    monkeypatch.setattr(recovery, "FairLock", BusyLock)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    caplog.set_level(logging.DEBUG, logger="sheaf_worker")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield make_bed
    for number, handler in before.items():
        signal.signal(number, handler)
    faulthandler.cancel_dump_traceback_later()
    for bed in beds:
        bed.close()


class BusyLock(FakeLock):
    """Another worker reconciles."""

    def acquire(self, timeout_s: float, floor: int = 0) -> NoReturn:
        raise LockTimeout("another worker has it")


@pytest.fixture
def bed(make: Any) -> Bed:
    made: Bed = make()
    return made


# --- its life --------------------------------------------------------------------------------------------------------


def run_until(bed: Bed, condition: Any) -> int:
    """Run the worker, and stop it by a signal when the condition holds."""

    def stop() -> None:
        with contextlib.suppress(AssertionError):
            wait_until(condition, 60, "the worker has done it")
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    status = bed.worker.run()
    stopper.join()
    return status


def test_a_claimed_batch_ends_in_the_output_and_the_worker_at_a_signal(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    run = bed.submit()
    bed.queue.claims.append(Claims([(RUN, 0, 1)]))

    assert run_until(bed, lambda: bed.queue.released) == 0

    assert (bed.data / "o.jsonl").read_text() == "0\n1\n2\n3\n"
    assert run.finished
    assert bed.queue.released == [f"{RUN}_0"]
    assert bed.queue.handed_back == []
    assert bed.queue.registry.left == [bed.worker.id]
    assert bed.queue.closed
    assert fields_of(caplog.records, "worker stopped")["items"] == 4
    assert not list((bed.data / ".sheaf/last-words").glob("*"))


def test_what_is_not_done_when_it_stops_is_handed_back(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """In peace: no item of it is suspected of anything."""
    bed = make(grace_s=0.1)
    bed.submit()
    bed.pool.stuck = True
    bed.queue.claims.append(Claims([(RUN, 0, 1)]))

    assert run_until(bed, lambda: bed.pool.waiting) == 0

    assert bed.queue.handed_back == [([f"{RUN}_0"], True)]
    assert fields_of(caplog.records, "handing back unfinished batches")["batches"] == 1
    host: Any = bed.worker._host_of_programs
    assert host.drained, "processes of programs have the same time"
    assert host.stop_asked.is_set()


def test_what_is_done_when_it_stops_is_committed_first(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bed = make(commit_s=1000.0)
    bed.submit()
    monkeypatch.setattr(bed.worker._buffer, "flush", lambda: None)
    bed.queue.claims.append(Claims([(RUN, 0, 1)]))

    assert run_until(bed, lambda: bed.worker._buffer.busy) == 0

    assert (bed.data / "o.jsonl").read_text() == "0\n1\n2\n3\n"
    assert (bed.queue.released, bed.queue.handed_back) == ([f"{RUN}_0"], [])


def test_without_redis_it_stops_all_the_same(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its leases run out by themselves."""
    bed = make(grace_s=0.1)
    bed.submit()
    bed.pool.stuck = True
    bed.queue.claims.append(Claims([(RUN, 0, 1)]))

    def claimed() -> bool:
        if bed.pool.waiting:
            bed.queue.outage.begin()
        return bool(bed.pool.waiting)

    assert run_until(bed, claimed) == 0

    assert bed.queue.handed_back == []
    assert "could not release batches in Redis; their leases will expire" in messages(caplog.records, "warning")


class Ended(BaseException):
    """In place of the end of the process."""


def test_a_loop_that_breaks_hands_back_and_ends_the_process(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in peace: an item in hand may be the cause. The reason is in the log and among the last words."""
    run = bed.submit()
    bed.hold(run, 0)
    bed.pool.breaks = True
    statuses: list[int] = []

    def end(status: int) -> NoReturn:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    stop_heartbeat = bed.worker._heartbeat.stop
    monkeypatch.setattr(bed.worker._heartbeat, "stop", lambda within_s: None)

    with pytest.raises(Ended):
        bed.worker.run()

    assert statuses == [1]
    assert bed.queue.handed_back == [([f"{RUN}_0"], False)]
    assert bed.queue.registry.left == [bed.worker.id], "though its heartbeat hangs, say"
    host: Any = bed.worker._host_of_programs
    assert host.abandoned, "programs hear of the end of their processes"
    (death,) = last_words(bed.data)
    assert death.cause == "RuntimeError: broken on purpose (in the thread 'MainThread')"
    record = fields_of(caplog.records, "a part of the worker broke; exiting")
    assert record["part"] == vitals.MAIN
    stop_heartbeat(60.0)
    bed.worker._committer.close(1.0)
    bed.worker._recovery.stop()
    bed.worker._vitals._done.set()


def test_a_folder_that_it_cannot_write_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a folder that this worker"):
        Worker(Settings(data_dir=tmp_path / "nowhere"), redis.Redis())


# --- one iteration ---------------------------------------------------------------------------------------------------


def test_items_go_to_the_pool_with_what_this_worker_allows(make: Any) -> None:
    """Options of a run that only a worker can know: which networks may be reached, whose certificates count."""
    bed = make(allow_net_most="10.0.0.0/8")
    run = bed.submit(task="load")
    bed.pool.stuck = True
    bed.hold(run, 0)

    bed.worker._take_in()

    assert bed.pool.waiting == 4
    assert bed.worker._fetcher.passed_on == 1
    program = bed.pool.backlog.choose(RUN, None, ())
    assert program is not None
    assert (program.run, program.output, program.spec.task) == (RUN, "o.jsonl", "load")
    assert program.spec.options["allow_net_most"] == ["10.0.0.0/8"]


def test_items_that_fail_without_a_try_are_committed_as_such(bed: Bed) -> None:
    run = bed.submit()
    bed.hold(run, 0)
    bed.worker._fetcher.failed.put((RUN, Failed(2, "ProcessDied", "no", 3)))

    bed.worker._take_in()

    assert bed.worker._buffer.take() == {RUN: [Failed(2, "ProcessDied", "no", 3)]}


def test_results_of_a_run_that_was_dropped_are_not_committed(bed: Bed) -> None:
    """It was cancelled meanwhile, or its output refused."""
    bed.worker._pass_on(RUN, [Done(0, b"x")])

    assert not bed.worker._buffer.busy


@pytest.mark.parametrize("source", ["cancelled", "refused", "changed"])
def test_a_run_that_cannot_go_on_is_dropped_and_its_batches_released(bed: Bed, source: str) -> None:
    run = bed.submit(8)
    bed.pool.stuck = True
    bed.hold(run, 0, 1)
    bed.worker._take_in()
    worker = bed.worker
    {"cancelled": worker._cancelled, "refused": worker._committer.refused, "changed": bed.pool.changed}[source].put(RUN)

    bed.worker._drop_runs()

    assert (bed.in_flight(), bed.pool.waiting) == ([], 0)
    assert bed.queue.released == [f"{RUN}_0", f"{RUN}_1"]


def test_a_run_is_dropped_without_redis_too(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.hold(bed.submit(), 0)
    bed.queue.outage.begin()
    bed.worker._cancelled.put(RUN)

    bed.worker._drop_runs()

    assert bed.in_flight() == []
    assert messages(caplog.records, "warning") == ["could not release batches in Redis; their leases will expire"]


def held_up(bed: Bed) -> None:
    """Slow items occupy everything: nothing has moved for a while."""
    bed.hold(bed.submit(12), 0, 1)
    bed.pool.stuck = True
    bed.worker._take_in()
    bed.worker._moved = time.monotonic() - RELEASE_S


def test_batches_that_wait_after_slow_items_go_to_other_workers(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    held_up(bed)
    monkeypatch.setattr(InstantPool, "free_capacity", 0)

    bed.worker._release_unstarted()

    assert bed.queue.handed_back == [([f"{RUN}_0", f"{RUN}_1"], True)]
    assert bed.in_flight() == []


@pytest.mark.parametrize("why", ["something moved", "a process is free", "paused"])
def test_they_stay_while_something_moves_or_could(bed: Bed, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    held_up(bed)
    monkeypatch.setattr(InstantPool, "free_capacity", 1 if why == "a process is free" else 0)
    if why == "something moved":
        bed.worker._moved = time.monotonic()
    bed.pool.paused = why == "paused"

    bed.worker._release_unstarted()

    assert bed.queue.handed_back == []
    assert len(bed.in_flight()) == 2


def test_the_pool_pauses_while_the_output_takes_no_more(make: Any) -> None:
    bed = make(commit_mb=0.001)
    run = bed.submit()
    bed.hold(run, 0)
    bed.worker._pass_on(RUN, [Done(0, b"x" * 4096)])

    bed.worker._iterate()

    assert bed.pool.paused
    bed.worker._buffer.take()
    bed.worker._buffer.written()
    bed.worker._iterate()
    assert not bed.pool.paused


def test_the_last_records_are_committed_when_nothing_more_is_to_be_had(bed: Bed) -> None:
    run = bed.submit()
    bed.hold(run, 0)
    bed.worker._buffer.add(run, [Done(0, b"x")])
    bed.worker._take_in()
    bed.worker._fetcher.drained = True

    bed.worker._iterate()

    assert bed.worker._buffer._idle, "it is due at once"


# --- what it shows ---------------------------------------------------------------------------------------------------


def test_the_pool_has_this_workers_share_of_the_cores(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    bed = make(pool_size=0, host="h")
    assert bed.pool.size == 4
    fields = {"machine": "h", "cores": "4", "beat_s": "5"}
    bed.worker._share_cores([WorkerInfo("z", fields, 0.0)])

    bed.worker._resize()

    assert bed.pool.size == 2
    assert bed.worker._describe()["pool"] == "2"


def test_a_change_of_state_is_published_at_once(bed: Bed) -> None:
    bed.worker._show_changes()
    assert not bed.worker._heartbeat._requested.is_set()

    bed.hold(bed.submit(), 0)
    bed.worker._show_changes()

    assert bed.worker._heartbeat._requested.is_set()


def test_its_entry_says_what_it_does(bed: Bed) -> None:
    assert bed.worker._describe()["state"] == "idle"
    run = bed.submit()
    bed.hold(run, 0)
    bed.worker._buffer.add(run, [Done(0, b"x")])
    entry = bed.worker._describe()
    assert (entry["state"], entry["batches"], entry["label"], entry["problem"]) == ("busy", "1", "w", "")
    assert json.loads(entry[FIELD]) == {RUN: [0, 0, 0.0, 0.0, True]}

    bed.worker._fetcher.problem = "Redis is away"
    assert (bed.worker._describe()["state"], bed.worker._describe()["problem"]) == ("blocked", "Redis is away")
    bed.worker._stop_asked = True
    assert bed.worker._describe()["state"] == "stopping"
