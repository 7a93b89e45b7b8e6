"""Runs the reconciler: one worker at a time queues what dead workers, or a Redis that lost data, left undone."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from sheaf.broker import keys
from sheaf.broker.lock import FairLock
from sheaf.core.errors import ClusterError, LockError, RedisUnavailable, RunDamaged
from sheaf.core.files import exists
from sheaf.scheduling.reconciler import Reconciler
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.progress_watchdog import ProgressWatchdog

logger = logging.getLogger(__name__)

#: Seconds for which the lock is renewed during a pass. One that takes longer hangs on a dead disk.
MOST_S = 120.0
#: Seconds until the next pass after a requested one that queued nothing.
FUTILE_S = 1.0


class Recovery(threading.Thread):
    """One thread. `cancelled` is called with each cancelled run of which this worker has batches."""

    def __init__(
        self,
        context: WorkerContext,
        cancelled: Callable[[str], None],
    ) -> None:
        super().__init__(name="recovery")
        settings = context.settings
        self._settings, self._queue, self._in_flight = settings, context.queue, context.in_flight
        self._cancelled = cancelled
        self._reconciler = Reconciler(settings.data_dir, context.queue, settings.queue_batches)
        self._lock = FairLock(
            context.connection,
            keys.RECONCILER_LOCK,
            owner=context.worker_id,
            label=context.label,
            lease_s=settings.lock_lease_s,
        )
        #: Why the volume cannot be read; None while it can.
        self.problem: str | None = None
        self._progress = ProgressWatchdog(context)
        self._stop_asked = threading.Event()
        self._requested = threading.Event()

    def stop(self) -> None:
        self._stop_asked.set()
        self._requested.set()
        self.join()

    def call(self) -> None:
        """The queue runs low: reconcile now instead of at the next interval. For any thread."""
        self._requested.set()

    def run(self) -> None:
        while True:
            requested = self._requested.wait(self._settings.reconcile_s)
            if self._stop_asked.is_set():
                break
            self._requested.clear()
            if self._pass() == 0 and requested:
                # Nothing to queue yet, or another worker is reconciling. Later requests are served after the pause.
                self._stop_asked.wait(min(FUTILE_S, self._settings.reconcile_s))
        self._reconciler.close()

    def _pass(self) -> int:
        """Return how many batches were put on the queue."""
        self._drop_cancelled()
        try:
            put = self._reconcile()
            self.problem = None
            return put
        except LockError:
            pass  # another worker is reconciling
        except RedisUnavailable as error:
            logger.debug("cannot reconcile without Redis", extra={"action": "reconcile", "why": str(error)})
        except ClusterError as error:
            # It is there and refuses: it is full, or this user may not. Runs would wait, and no view would say why.
            self._report(f"batches cannot be queued: {error}")
        except OSError as error:
            self._report(f"the runs on the volume cannot be read: {error}")
        return 0

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("cannot reconcile", extra={"action": "reconcile", "why": problem})
        self.problem = problem

    def _reconcile(self) -> int:
        with self._lock.acquire(timeout_s=0) as lease, lease.keep(MOST_S):
            reaped = self._queue.reap()
            if reaped:
                logger.warning(
                    "leases expired; their batches are queued again", extra={"action": "reap", "batches": reaped}
                )
            put = self._reconciler.feed()
            if put:
                logger.info("batches queued from the volume", extra={"action": "feed", "batches": put})
            self._progress.check(self._reconciler)
            return put

    def _drop_cancelled(self) -> None:
        for name, run in self._in_flight.runs().items():
            # When a program ends, the whole folder of its session is removed.
            with contextlib.suppress(RunDamaged):  # the reconciler reports it
                if run.cancelled or (run.manifest.session is not None and not exists(run.folder)):
                    self._cancelled(name)
