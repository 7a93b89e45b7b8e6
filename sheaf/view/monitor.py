"""What is known of a run at one moment: progress from the volume, workers and problems from Redis."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from sheaf.broker import keys
from sheaf.broker.connection import connect
from sheaf.broker.wakeup import Notifier
from sheaf.broker.worker_registry import WorkerInfo, WorkerRegistry
from sheaf.core.errors import ClusterError, OutputError
from sheaf.core.settings import Settings
from sheaf.output.blocker import blocker
from sheaf.output.index.rows import RunRow
from sheaf.output.output import Output
from sheaf.run.run import Run
from sheaf.view.presence import absence

#: Seconds over which a speed is measured.
WINDOW_S = 10.0
#: Seconds between two looks at Redis; longer when it does not answer, since finding that out takes time.
REDIS_LOOK_S = 1.0
REDIS_PAUSE_S = 3.0
#: Seconds without progress after which it is checked whether a process blocks the output.
STALL_S = 3.0


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run as one sees it now."""

    items: int
    done: int
    failed: int
    #: Items settled, and bytes written, per second of late.
    items_per_s: float
    bytes_per_s: float
    workers: Sequence[WorkerInfo]
    #: Worker id -> items of this run that it has settled; the id of one that has ended stays.
    shares: Mapping[str, int]
    #: Why it does not go on, or not as well as it could; for people.
    problems: Sequence[str]
    cancelled: bool
    #: Why the output was refused, if it was: nothing goes on until a person has looked.
    refused: str | None = None

    @property
    def settled(self) -> int:
        return self.done + self.failed

    @property
    def finished(self) -> bool:
        return self.settled == self.items

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at the present speed; None while nothing moves."""
        return (self.items - self.settled) / self.items_per_s if self.items_per_s > 0 else None


class Monitor:
    """Looks at one run, again and again. Works while Redis is down, and says so."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self.run = run
        self._settings = settings
        self._output = Output(settings.data_dir / run.manifest.output)
        self._connection: redis.Redis | None = None
        #: Rings when the run is finished; None: Redis did not answer lately.
        self._notifier: Notifier | None = None
        self._redis_look = 0.0
        self._workers: list[WorkerInfo] = []
        self._problems: list[str] = []
        self._refused: str | None = None
        #: How much was settled at the last look that saw progress, and when (monotonic) that was.
        self._moved = (-1, time.monotonic())
        #: Moment, settled items, bytes written; over the last seconds.
        self._samples: deque[tuple[float, int, int]] = deque()

    def look(self) -> RunStatus:
        """Raises OutputError if the output's index cannot be read."""
        progress = self._output.reader.run(self.run.manifest.run)
        if time.monotonic() >= self._redis_look:
            self._look_at_redis()
        items_per_s, bytes_per_s = self._speed(progress)
        return RunStatus(
            items=self.run.manifest.items,
            done=progress.done,
            failed=progress.failed,
            items_per_s=items_per_s,
            bytes_per_s=bytes_per_s,
            workers=self._workers,
            # From the volume: a worker's entry in Redis is renewed every few seconds only.
            shares={share.worker: share.items for share in self._output.reader.shares(self.run.manifest.run)},
            problems=[*self._problems, *self._blocked(progress)],
            cancelled=self.run.cancelled,
            refused=self._refused,
        )

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the run is finished. Without Redis, for the full time."""
        deadline = time.monotonic() + seconds
        if self._notifier is not None:
            try:
                self._notifier.wait(seconds)
                return
            except ClusterError:
                self._notifier = None  # the next look at Redis says what is wrong
        time.sleep(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        self._output.close()
        self._disconnect()

    def _disconnect(self) -> None:
        """The next look connects anew: a cluster that was started again may have another address."""
        if self._notifier is not None:
            self._notifier.close()
        if self._connection is not None:
            self._connection.close()
        self._notifier = self._connection = None

    def _speed(self, progress: RunRow) -> tuple[float, float]:
        now, settled = time.monotonic(), progress.done + progress.failed
        self._samples.append((now, settled, progress.bytes))
        while now - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()
        began, settled_then, bytes_then = self._samples[0]
        if now - began < 0.5:
            return 0.0, 0.0
        return (settled - settled_then) / (now - began), (progress.bytes - bytes_then) / (now - began)

    def _blocked(self, progress: RunRow) -> list[str]:
        """Who keeps everybody from writing, if nothing has moved for a while."""
        settled, now = progress.done + progress.failed, time.monotonic()
        if settled != self._moved[0] or progress.finished:
            self._moved = (settled, now)
        if now - self._moved[1] < STALL_S:
            return []
        try:
            holder = blocker(self._output.path)
        except OutputError:
            return []  # looking at the progress says what is wrong with the index
        return [holder.describe()] if holder is not None else []

    def _look_at_redis(self) -> None:
        try:
            if self._connection is None:
                self._connection = connect(self._settings, timeout_s=2.0)
            if self._notifier is None:
                self._notifier = Notifier(self._connection, keys.FINISHED_PREFIX + self.run.manifest.run)
            registry = WorkerRegistry(self._connection)
            self._workers = registry.workers()
            problem = registry.problem(self.run.manifest.run)
            absent = absence(self._settings, registry, self._workers)
            self._problems = [f"{problem.text} (found by {problem.worker or 'the reconciler'})"] if problem else []
            self._problems += [absent] if absent is not None else []
            self._refused = problem.text if problem is not None and problem.refused else None
            self._redis_look = time.monotonic() + REDIS_LOOK_S
        except ClusterError as error:
            # Who works is not known then, but the volume still tells how far they are.
            self._disconnect()
            self._workers = []
            self._problems = [f"{error} (progress is read from the volume)"]
            self._redis_look = time.monotonic() + REDIS_PAUSE_S
