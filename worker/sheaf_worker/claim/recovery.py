"""The reconciler: any live worker, one at a time, puts back what dead workers or a forgetful Redis left undone."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

import redis

from sheaf.broker import keys
from sheaf.broker.lock import FairLock
from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import ClusterError, LockError, RunDamaged
from sheaf.core.files import exists
from sheaf.core.settings import Settings
from sheaf.scheduling.reconciler import Reconciler
from sheaf_worker.claim.in_flight import InFlight
from sheaf_worker.claim.progress_watchdog import ProgressWatchdog

logger = logging.getLogger(__name__)

#: Seconds for which one look may keep others from looking. Whoever takes longer hangs, on a disk that does not answer.
MOST_S = 120.0


class Recovery(threading.Thread):
    """One thread. `cancelled` is told the runs that a person has stopped while this worker holds batches of theirs."""

    def __init__(
        self,
        settings: Settings,
        connection: redis.Redis,
        queue: BatchQueue,
        in_flight: InFlight,
        worker: str,
        label: str,
        cancelled: Callable[[str], None],
    ) -> None:
        super().__init__(name="recovery")
        self._settings = settings
        self._in_flight = in_flight
        self._queue = queue
        self._cancelled = cancelled
        self._feeder = Reconciler(settings.data_dir, queue, settings.queue_batches)
        self._lock = FairLock(
            connection, keys.RECONCILER_LOCK, owner=worker, label=label, lease_s=settings.lock_lease_s
        )
        #: Why the volume cannot be looked at; None while it can.
        self.problem: str | None = None
        self._progress = ProgressWatchdog(settings, connection, queue, label)
        self._stop_asked = threading.Event()
        self._called = threading.Event()

    def stop(self) -> None:
        self._stop_asked.set()
        self._called.set()
        self.join()

    def call(self) -> None:
        """The queue runs low: look at once, not only when it is time. For any thread."""
        self._called.set()

    def run(self) -> None:
        futile = False
        while True:
            # A look that somebody called for, and that put nothing on the queue, is not repeated before it is time.
            waiting = self._stop_asked if futile else self._called
            called = waiting.wait(self._settings.reconcile_s)
            if self._stop_asked.is_set():
                break
            self._called.clear()
            futile = self._look() == 0 and called
        self._feeder.close()

    def _look(self) -> int:
        """Return how many batches were put on the queue."""
        self._drop_cancelled()
        try:
            put = self._reconcile()
            self.problem = None
            return put
        except LockError:
            pass  # another worker is at it
        except ClusterError as error:
            logger.debug("no look without Redis", extra={"action": "reconcile", "why": str(error)})
        except OSError as error:
            self._say(f"the runs on the volume cannot be looked at: {error}")
        return 0

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("no look at the volume", extra={"action": "reconcile", "why": problem})
        self.problem = problem

    def _reconcile(self) -> int:
        with self._lock.acquire(timeout_s=0) as lease, lease.keep(MOST_S):
            reaped = self._queue.reap()
            if reaped:
                logger.warning(
                    "leases ran out; their batches are queued again", extra={"action": "reap", "batches": reaped}
                )
            put = self._feeder.feed()
            if put:
                logger.info("batches were put on the queue", extra={"action": "feed", "batches": put})
            self._progress.look(self._feeder)
            return put

    def _drop_cancelled(self) -> None:
        for name, run in self._in_flight.runs().items():
            # The session of a program that has ended is gone as a whole.
            with contextlib.suppress(RunDamaged):  # said where it is fed
                if run.cancelled or (run.manifest.session is not None and not exists(run.folder)):
                    self._cancelled(name)
