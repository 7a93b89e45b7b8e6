"""When a worker's recovery thread looks at the volume: in time, and on request."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import (
    ClusterError,
    LockTimeout,
    RedisDenied,
    RedisFull,
    RedisReadOnly,
    RedisUnavailable,
    RunDamaged,
)
from sheaf.core.settings import Settings
from sheaf.run.run import Run
from sheaf_worker.claim import recovery as recovery_module
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.in_flight import InFlight, InFlightBatch
from sheaf_worker.claim.recovery import Recovery
from tests.console import wait_until
from tests.patches import raising
from tests.runs import a_manifest, write_run
from tests.worker_parts import FakeLock, FakeQueue, LockState, fields_of, make_context, messages


class Passes(Recovery):
    """Counts its passes, which queue as many batches as `queued` says."""

    queued = 0
    moments: list[float]

    def _pass(self) -> int:
        self.moments.append(time.monotonic())
        return self.queued


@pytest.fixture
def passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    monkeypatch.setattr(recovery_module, "FUTILE_S", 0.05)
    connection = redis.Redis()  # never asked
    settings = replace(Settings(data_dir=tmp_path), reconcile_s=600.0)
    recovery = Passes(
        WorkerContext("w-1", "w", settings, connection, BatchQueue(connection), InFlight()), lambda _: None
    )
    recovery.moments = []
    recovery.start()
    yield recovery
    recovery.stop()


def test_what_is_asked_for_after_a_pass_in_vain_is_done_soon(passes: Passes) -> None:
    """Another worker may have been at it, or there was nothing to queue yet: no reason to wait for ten minutes."""
    for number in (1, 2, 3):
        passes.call()
        wait_until(lambda number=number: len(passes.moments) == number, 60, "it looks again")  # type: ignore[misc]

    first, second, third = passes.moments
    assert second - first >= 0.05 and third - second >= 0.05, "but not at once: it may be in vain again"


def test_nobody_asks_and_it_is_not_time(passes: Passes) -> None:
    passes.call()
    wait_until(lambda: passes.moments, 60, "it looks")

    time.sleep(0.3)
    assert len(passes.moments) == 1


# --- one pass --------------------------------------------------------------------------------------------------------


class Bed:
    """A recovery whose lock is free unless `failure` says otherwise, and whose reconciler does what a test says."""

    def __init__(self, data: Path) -> None:
        self.queue = FakeQueue()
        self.locks = LockState()
        self.context = make_context(data, self.queue, self.locks)
        self.cancelled: list[str] = []
        self.recovery = Recovery(self.context, self.cancelled.append)
        self.reaped: list[str] = []
        self.queue.reap = lambda: self.reaped  # type: ignore[attr-defined]

    def claim(self, run: Run) -> None:
        self.context.in_flight.add(InFlightBatch.of(run.manifest.batch(0), run, range(2)))


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Bed:
    monkeypatch.setattr(recovery_module, "FairLock", FakeLock)
    caplog.set_level(logging.DEBUG, logger="sheaf_worker")
    return Bed(tmp_path)


def test_a_pass_puts_back_what_is_queued_nowhere(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says what it did, and whose leases have expired."""
    bed.reaped = ["run-1_3"]
    monkeypatch.setattr(bed.recovery._reconciler, "feed", lambda: 7)

    assert bed.recovery._pass() == 7

    assert fields_of(caplog.records, "leases expired; their batches are queued again")["batches"] == ["run-1_3"]
    assert fields_of(caplog.records, "batches queued from the volume")["batches"] == 7
    assert bed.locks.released == 1


def test_a_pass_that_finds_nothing_says_nothing(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    (bed.context.settings.data_dir / "runs").mkdir()

    assert bed.recovery._pass() == 0

    assert messages(caplog.records) == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [(LockTimeout("another worker has it"), []), (RedisUnavailable("away"), ["cannot reconcile without Redis"])],
)
def test_without_the_lock_a_pass_is_left_to_others(
    bed: Bed, caplog: pytest.LogCaptureFixture, failure: Exception, said: list[str]
) -> None:
    bed.locks.failures.append(failure)

    assert bed.recovery._pass() == 0

    assert messages(caplog.records) == said
    assert bed.recovery.problem is None


@pytest.mark.parametrize("refusal", [RedisFull("Redis is full"), RedisDenied("no right"), RedisReadOnly("a replica")])
def test_a_redis_that_refuses_is_a_problem_until_it_does_not(
    bed: Bed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, refusal: ClusterError
) -> None:
    """Or runs would make no progress, workers be idle, and nothing would say why."""
    with monkeypatch.context() as full:
        full.setattr(bed.recovery._reconciler, "feed", raising(refusal))
        assert bed.recovery._pass() == bed.recovery._pass() == 0
    assert str(refusal) in (bed.recovery.problem or "")
    assert messages(caplog.records, "error") == ["cannot reconcile"], "once, however often it is met"

    bed.recovery._pass()
    assert bed.recovery.problem is None


def test_a_volume_that_cannot_be_read_is_a_problem_until_it_can(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> int:
        raise OSError(5, "Input/output error")

    feed = bed.recovery._reconciler.feed
    monkeypatch.setattr(bed.recovery._reconciler, "feed", fail)
    for _ in range(2):
        assert bed.recovery._pass() == 0
    assert "Input/output error" in (bed.recovery.problem or "")
    assert messages(caplog.records, "error") == ["cannot reconcile"], "once, however often it is met"
    assert bed.locks.released == 2

    monkeypatch.setattr(bed.recovery._reconciler, "feed", feed)
    bed.recovery._pass()
    assert bed.recovery.problem is None


def test_runs_that_were_cancelled_or_whose_program_has_ended_are_dropped(bed: Bed, tmp_path: Path) -> None:
    """Those of which this worker has batches; also while another worker reconciles."""
    cancelled, alive = (write_run(tmp_path, ["a", "b"], f"20260101-000000-{name}") for name in ("aaaaaa", "bbbbbb"))
    gone = Run(tmp_path / "sessions/session-1/runs/0", a_manifest("session-1-0", 2, session="session-1"))
    for run in (cancelled, alive, gone):
        bed.claim(run)
    cancelled.cancel()
    bed.locks.failures.append(LockTimeout("another worker has it"))

    bed.recovery._pass()

    assert sorted(bed.cancelled) == [cancelled.manifest.run, "session-1-0"]


def test_a_run_whose_marks_cannot_be_read_is_not_dropped(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reconciler reports it."""
    bed.claim(write_run(tmp_path, ["a", "b"]))

    def fail(_: Run) -> bool:
        raise RunDamaged("its folder cannot be read")

    monkeypatch.setattr(Run, "cancelled", property(fail))
    bed.recovery._drop_cancelled()

    assert bed.cancelled == []
