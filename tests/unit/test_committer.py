"""What becomes of a group of results: committed, tried again, refused or left to others, and what Redis learns."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.errors import LockLost, LockTimeout, RedisUnavailable
from sheaf.output.commit.data_file import OutputFile
from sheaf.output.output import Output
from sheaf.run.items import Done, Failed
from sheaf.run.run import Run
from sheaf_worker.claim.in_flight import InFlightBatch
from sheaf_worker.commit import committer as module
from sheaf_worker.commit.buffer import CommitBuffer
from sheaf_worker.commit.committer import Committer
from tests.console import wait_until
from tests.runs import numbered, write_run
from tests.worker_parts import FakeLock, FakeQueue, LockState, fields_of, make_context, messages

RUN = "20260101-000000-aaaaaa"
OTHER = "20260101-000000-bbbbbb"


class Bed:
    """A committer with a real buffer and real outputs, one thread, and no Redis."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.queue, self.locks = FakeQueue(), LockState()
        # There is no waiting for a fence here: its holder keeps it until the test is through with that.
        self.context = make_context(data, self.queue, self.locks, lock_wait_s=0.01)
        self.buffer = CommitBuffer(1 << 20, 1000.0, lambda: None)
        self.committer = Committer(self.context, self.buffer)

    def submit(self, name: str = RUN, items: int = 4, output: str = "o.jsonl") -> Run:
        """A run of one batch, which this worker has claimed."""
        run = write_run(self.data, numbered(items), name, output=output)
        shared = Output.create(self.data / output)
        shared.register_run(name, items, run.manifest.batch_size)
        shared.close()
        batch = run.manifest.batch(0)
        self.context.in_flight.add(InFlightBatch.of(batch, run, range(batch.first, batch.end)))
        return run

    def do(self, run: Run, *indexes: int) -> None:
        self.buffer.add(run, [Done(index, b"%d\n" % index) for index in indexes])

    def start(self) -> None:
        self.committer.start()
        self.buffer.flush()

    def end(self, within_s: float = 60.0) -> None:
        self.committer.close(within_s)

    def commit(self) -> None:
        """All that is pending, and then no more."""
        self.start()
        self.end()
        assert not self.committer.is_alive()

    def text(self, output: str = "o.jsonl") -> str:
        return (self.data / output).read_text()


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Bed]:
    monkeypatch.setattr(module, "FairLock", FakeLock)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    caplog.set_level(logging.DEBUG, logger="sheaf_worker")
    bed = Bed(tmp_path)
    yield bed
    if bed.committer.is_alive():
        bed.end(0.0)


# --- committed -------------------------------------------------------------------------------------------------------


def test_a_batch_is_finished_in_redis_only_when_its_items_are_in_the_output(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round, a worker that dies in between would lose them."""
    run = bed.submit()
    bed.do(run, 0, 1)
    bed.buffer.add(run, [Failed(2, "ValueError", "no", 1)])
    bed.do(run, 3)
    seen: list[str] = []
    monkeypatch.setattr(bed.queue, "finish", lambda worker, batches: seen.append(bed.text()))

    bed.commit()

    assert seen == ["0\n1\n3\n"]
    assert len(bed.context.in_flight) == 0
    assert (bed.committer.items, bed.committer.bytes, bed.committer.stats.commits) == (4, 6, 1)
    assert (bed.locks.asked, bed.locks.released) == (["output:o.jsonl"], 1)


def test_a_run_whose_last_item_is_committed_is_marked_and_announced(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    run, other = bed.submit(), bed.submit(OTHER)
    bed.do(run, 0, 1, 2, 3)
    bed.do(other, 0)

    bed.commit()

    assert (run.finished, other.finished) == (True, False)
    assert (bed.queue.committed, bed.queue.finished) == ([RUN, OTHER], [RUN])
    assert bed.queue.released == [f"{RUN}_0"], "of the other one three items are open"
    assert fields_of(caplog.records, "run finished")["levelname"] == "INFO"


def test_a_programs_runs_are_many_and_logged_quietly(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    run = bed.submit("session-20260101-000000-abcdef-0")
    object.__setattr__(run.manifest, "session", "session-20260101-000000-abcdef")
    bed.do(run, 0, 1, 2, 3)

    bed.commit()

    assert fields_of(caplog.records, "run finished")["levelname"] == "DEBUG"


def test_each_output_is_committed_to_under_its_own_lock(bed: Bed) -> None:
    first, second = bed.submit(), bed.submit(OTHER, output="p.jsonl")
    bed.do(first, 0)
    bed.do(second, 1)

    bed.commit()

    assert (bed.text(), bed.text("p.jsonl")) == ("0\n", "1\n")
    assert bed.locks.asked == ["output:o.jsonl", "output:p.jsonl"]
    assert bed.committer.stats.commits == 2


def test_what_another_worker_has_settled_is_dropped_and_its_batch_finished(bed: Bed) -> None:
    """Its lease ran out here, and another did all of it: no item twice, and no batch that stays for ever."""
    run = bed.submit()
    output = Output(bed.data / "o.jsonl")
    output.commit({RUN: [Done(index, b"theirs\n") for index in range(4)]}, worker="w-2", token=1)
    output.close()
    bed.do(run, 0, 1, 2, 3)

    bed.commit()

    assert bed.text() == "theirs\n" * 4
    assert bed.queue.released == [f"{RUN}_0"]


# --- without Redis, or without the lock ------------------------------------------------------------------------------


def test_without_redis_the_fence_alone_excludes(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """What is done is committed; what Redis has to learn waits for it."""
    run = bed.submit()
    bed.do(run, 0, 1, 2, 3)
    bed.locks.failures.append(RedisUnavailable("Redis is away"))
    bed.queue.outage.begin()

    bed.commit()

    assert bed.text() == "0\n1\n2\n3\n"
    assert run.finished
    assert messages(caplog.records, "warning") == [
        "committing without the Redis lock; relying on the index's write lock",
        "could not announce new results; waiting programs will poll",
        "could not remove finished batches from Redis; will retry",
        "could not remove finished batches from Redis; will retry",
    ]
    assert bed.locks.released == 0


def test_batches_that_could_not_be_finished_in_redis_are_when_it_is_back(bed: Bed) -> None:
    """With the next commit; else their leases would run out, and others would look at them in vain."""
    run, other = bed.submit(), bed.submit(OTHER)
    bed.do(run, 0, 1, 2, 3)
    bed.queue.outage.begin("finish")
    bed.start()
    wait_until(lambda: not bed.buffer.busy, 60, "it is committed")
    assert bed.queue.released == []

    bed.queue.outage.end()
    bed.do(other, 0, 1, 2, 3)
    bed.buffer.flush()
    wait_until(lambda: bed.queue.released, 60, "they are finished")

    assert bed.queue.released == [f"{RUN}_0", f"{OTHER}_0"]
    bed.end()
    assert bed.queue.released == [f"{RUN}_0", f"{OTHER}_0"], "once each"


@pytest.mark.parametrize("lost", [LockLost("the lease ran out"), RedisUnavailable("Redis is away")])
def test_a_commit_stands_whose_lock_was_lost_meanwhile(
    bed: Bed, caplog: pytest.LogCaptureFixture, lost: Exception
) -> None:
    """The fence had excluded everybody else."""
    run = bed.submit()
    bed.do(run, 0, 1, 2, 3)
    bed.locks.lost = lost

    bed.commit()

    assert bed.text() == "0\n1\n2\n3\n"
    assert bed.queue.released == [f"{RUN}_0"]
    assert messages(caplog.records, "warning") == ["could not release the lock; its lease will expire"]


def test_a_long_wait_for_the_lock_is_logged(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NOTICE_S", 0.0)
    bed.do(bed.submit(), 0)

    bed.commit()

    assert fields_of(caplog.records, "acquired the output's lock after a long wait")["output"] == "o.jsonl"


# --- tried again -----------------------------------------------------------------------------------------------------


def test_a_lock_that_others_keep_is_waited_for(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown as a problem meanwhile, logged once however often it is tried, and over when it is."""
    run = bed.submit()
    bed.do(run, 0)
    bed.locks.failures += [LockTimeout("held by worker-2")] * 3
    shown: list[Any] = []
    clear = bed.queue.registry.clear_problem

    def note(run: str) -> None:
        shown.append(bed.queue.registry.problems.get(run))
        clear(run)

    monkeypatch.setattr(bed.queue.registry, "clear_problem", note)
    bed.commit()

    assert bed.text() == "0\n"
    (problem,) = shown
    assert (problem.text, problem.worker, problem.refused) == ("held by worker-2", "worker-1", False)
    assert messages(caplog.records, "error") == ["cannot commit; will retry"]
    assert "commits succeed again" in messages(caplog.records, "info")
    assert bed.committer.problem is None
    assert bed.queue.registry.problems == {}


def test_a_fence_that_another_process_keeps_is_waited_for(bed: Bed) -> None:
    run = bed.submit()
    bed.do(run, 0)
    other = Output(bed.data / "o.jsonl")
    with other._transactions.begin("another"):
        bed.start()
        wait_until(lambda: bed.committer.problem is not None, 60, "it cannot commit")
        assert RUN in bed.queue.registry.problems
        assert bed.buffer.busy
    other.close()

    bed.end()

    assert bed.text() == "0\n"
    assert bed.committer.stats.fence_s > 0


def test_a_full_disk_is_waited_for(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bed.submit()
    bed.do(run, 0, 1, 2, 3)
    room = threading.Event()
    append = OutputFile.append

    def full(*arguments: Any, **keywords: Any) -> None:
        if not room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        append(*arguments, **keywords)

    monkeypatch.setattr(OutputFile, "append", full)
    bed.start()
    wait_until(lambda: bed.committer.problem is not None, 60, "it cannot commit")
    assert "No space left on device" in (bed.committer.problem or "")
    assert bed.queue.released == []

    room.set()
    bed.end()

    assert bed.text() == "0\n1\n2\n3\n"
    assert bed.queue.released == [f"{RUN}_0"]


def test_a_problem_that_redis_cannot_be_told_of_is_logged(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    run = bed.submit()
    bed.do(run, 0)
    bed.locks.failures.append(LockTimeout("held by worker-2"))
    bed.queue.outage.begin("set_problem", "clear_problem")

    bed.commit()

    assert messages(caplog.records, "warning") == [
        "could not publish the problem in Redis",
        "could not clear the solved problem in Redis",
    ]
    assert bed.text() == "0\n"


# --- refused, or left to others --------------------------------------------------------------------------------------


def test_an_output_that_is_not_what_it_was_gets_nothing_and_its_run_is_dropped(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several outputs only that one: its batches are released, so that they come back when a person has looked."""
    first, second = bed.submit(), bed.submit(OTHER, output="p.jsonl")
    output = Output(bed.data / "o.jsonl")
    output.commit({RUN: [Done(3, b"three\n")]}, worker="w-2", token=1)
    output.close()
    (bed.data / "o.jsonl").write_text("th")
    bed.do(second, 0, 1, 2, 3)
    bed.do(first, 0, 1, 2)

    bed.commit()

    assert bed.text() == "th"
    assert bed.text("p.jsonl") == "0\n1\n2\n3\n"
    assert bed.committer.refused.get_nowait() == RUN
    assert bed.committer.refused.empty()
    assert bed.queue.registry.problems[RUN].refused
    assert sorted(bed.queue.released) == [f"{RUN}_0", f"{OTHER}_0"]
    assert bed.context.in_flight.ids() == []
    assert bed.committer.problem is None, "the worker itself can go on"
    assert (bed.committer.items, bed.committer.stats.commits) == (4, 1)
    assert messages(caplog.records, "error") == ["cannot commit; the output is refused, so the run is set aside"]


def test_a_group_that_cannot_be_committed_before_the_end_is_left_to_others(bed: Bed) -> None:
    """Its batches stay in flight, so that the worker hands them back."""
    run = bed.submit()
    bed.do(run, 0, 1, 2, 3)
    other = Output(bed.data / "o.jsonl")
    with other._transactions.begin("another"):
        bed.start()
        wait_until(lambda: bed.committer.problem is not None, 60, "it cannot commit")
        bed.end(within_s=0.0)
    other.close()

    assert not bed.committer.is_alive()
    assert bed.context.in_flight.ids() == [f"{RUN}_0"]
    assert bed.queue.released == []
    assert not run.finished


def test_a_commit_that_hangs_does_not_keep_the_worker_from_its_end(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead disk: it ends with the process, as if that were killed."""
    monkeypatch.setattr(module, "LATE_S", 0.05)
    goes_on, hangs = threading.Event(), threading.Event()

    def hang(*_given: Any, **_named: Any) -> None:
        hangs.set()
        goes_on.wait(60)

    monkeypatch.setattr(OutputFile, "append", hang)
    bed.do(bed.submit(), 0)
    bed.start()
    assert hangs.wait(60)

    bed.end(within_s=0.0)

    assert bed.committer.is_alive()
    assert messages(caplog.records, "warning") == [
        "last commit did not finish in time; other workers will redo its items"
    ]
    goes_on.set()
    bed.committer.join(60)
