"""What the parts of a worker meet, without Redis: a queue, its registry and a lock in memory, which can be down."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sheaf.broker.claims import ClaimRequest, Claims, Snapshot
from sheaf.broker.worker_registry import Problem, WorkerInfo
from sheaf.core.errors import RedisUnavailable
from sheaf.core.settings import Settings
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.in_flight import InFlight


class Outage:
    """Which calls fail because Redis is away: those named, or all."""

    def __init__(self) -> None:
        self.calls: set[str] = set()

    def begin(self, *calls: str) -> None:
        self.calls = set(calls) or {"all"}

    def end(self) -> None:
        self.calls = set()

    def check(self, call: str) -> None:
        if self.calls & {call, "all"}:
            raise RedisUnavailable("Redis is away")


class FakeRegistry:
    def __init__(self, outage: Outage) -> None:
        self._outage = outage
        self.problems: dict[str, Problem] = {}
        self.infos: list[WorkerInfo] = []
        self.left: list[str] = []
        self.announced: list[Mapping[str, str]] = []

    def set_problem(self, run: str, text: str, worker: str, ttl_s: float, *, refused: bool = False) -> None:
        self._outage.check("set_problem")
        assert ttl_s > 0
        self.problems[run] = Problem(text, worker, 0.0, refused)

    def problem(self, run: str) -> Problem | None:
        self._outage.check("problem")
        return self.problems.get(run)

    def clear_problem(self, run: str) -> None:
        self._outage.check("clear_problem")
        self.problems.pop(run, None)

    def announce(self, worker: str, fields: Mapping[str, str], ttl_s: float) -> None:
        self._outage.check("announce")
        self.announced.append(fields)

    def workers(self) -> list[WorkerInfo]:
        self._outage.check("workers")
        return self.infos

    def leave(self, worker: str) -> None:
        self._outage.check("leave")
        self.left.append(worker)


class FakeQueue:
    """What a worker uses of a `BatchQueue`."""

    def __init__(self) -> None:
        self.outage = Outage()
        self.registry = FakeRegistry(self.outage)
        #: What the next claims bring; then nothing more comes.
        self.claims: deque[Claims] = deque()
        self.requests: list[tuple[int, ClaimRequest]] = []
        self.waits: list[float] = []
        self.released: list[str] = []
        self.handed_back: list[tuple[list[str], bool]] = []
        #: Runs that were announced as committed to, and as finished.
        self.committed: list[str] = []
        self.finished: list[str] = []
        self.interrupted = self.closed = False
        self.shot = Snapshot(set(), {})

    def claim(self, worker: str, limit: int, lease_s: float, request: ClaimRequest) -> Claims:
        self.outage.check("claim")
        self.requests.append((limit, request))
        return self.claims.popleft() if self.claims else Claims()

    def wait(self, timeout_s: float) -> None:
        self.waits.append(timeout_s)

    def interrupt(self) -> None:
        self.interrupted = True

    def renew(self, worker: str, batches: Sequence[str], lease_s: float) -> list[str]:
        self.outage.check("renew")
        return []

    def finish(self, worker: str, batches: Sequence[str]) -> None:
        self.outage.check("finish")
        self.released += batches

    def hand_back(self, worker: str, batches: Sequence[str], *, in_peace: bool = True) -> None:
        self.outage.check("hand_back")
        self.handed_back.append((list(batches), in_peace))

    def publish_committed(self, runs: Iterable[str]) -> None:
        self.outage.check("publish")
        self.committed += runs

    def publish_finished(self, runs: Iterable[str]) -> None:
        self.outage.check("publish")
        self.finished += runs

    def snapshot(self) -> Snapshot:
        self.outage.check("snapshot")
        return self.shot

    def close(self) -> None:
        self.closed = True


class FakeHost(threading.Thread):
    """In place of a worker's `Host`: hosts nothing."""

    count = 0
    problem: str | None = None

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(name="hosting", daemon=True)
        self.calls = threading.Thread(target=self._until_stopped, name="hosting-calls", daemon=True)
        self.stop_asked = threading.Event()
        self.drained = self.abandoned = False

    def run(self) -> None:
        self._until_stopped()

    def _until_stopped(self) -> None:
        self.stop_asked.wait()

    def drain(self, grace_s: float) -> None:
        self.drained = True

    def stop(self, within_s: float | None = None) -> None:
        self.stop_asked.set()

    def abandon(self) -> None:
        self.abandoned = True


class FakeLock:
    """In place of a `FairLock`: given on every request. `failures`: what the next requests get instead."""

    #: By connection, as a lock in Redis is.
    def __init__(self, connection: Any, name: str, *, owner: str, label: str, lease_s: float) -> None:
        self._state = connection
        self._name = name

    def acquire(self, timeout_s: float, floor: int = 0) -> FakeLease:
        self._state.asked.append(self._name)
        if self._state.failures:
            raise self._state.failures.popleft()
        return FakeLease(self._state, floor + 1)


class FakeLease:
    def __init__(self, state: LockState, token: int) -> None:
        self._state = state
        self.token = token

    @contextlib.contextmanager
    def keep(self, most_s: float) -> Iterator[FakeLease]:
        yield self

    def __enter__(self) -> FakeLease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> bool:
        if self._state.lost is not None:
            raise self._state.lost
        self._state.released += 1
        return True


class LockState:
    """What takes the connection's place where only locks are asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failures: deque[Exception] = deque()
        #: What the release raises.
        self.lost: Exception | None = None
        self.released = 0


def make_context(data_dir: Path, queue: FakeQueue, connection: object = None, **settings: Any) -> WorkerContext:
    anything: Any = connection
    fake_queue: Any = queue
    return WorkerContext(
        "worker-1-ab", "worker-1", Settings(data_dir=data_dir, **settings), anything, fake_queue, InFlight()
    )


def messages(records: Iterable[Any], level: str | None = None) -> list[str]:
    """What was logged, without the fields."""
    return [record.getMessage() for record in records if level in (None, record.levelname.lower())]


def fields_of(records: Iterable[Any], message: str) -> Mapping[str, Any]:
    return next(vars(record) for record in records if record.getMessage() == message)
