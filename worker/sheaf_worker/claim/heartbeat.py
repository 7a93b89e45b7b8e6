"""Keeps this worker's claims alive: leases, registry entry, health file. Runs no user code and waits only for Redis.

Only while the worker is healthy: if its main loop hangs, its leases expire and other workers take its batches.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.errors import ClusterError
from sheaf_worker.claim.context import WorkerContext

logger = logging.getLogger(__name__)

#: Seconds for which a worker's entry stays after its last heartbeat (two leases, if those are longer): long enough for
#: a person to see that it has gone silent.
ENTRY_S = 120.0
#: The shortest interval between two heartbeats, in seconds, however often the entry changes.
CALM_S = 0.5


class Heartbeat(threading.Thread):
    """One thread. `describe` returns the worker's registry entry; `well` returns whether its main loop runs.

    `on_workers` is called with the entries of all workers at each heartbeat.
    """

    def __init__(
        self,
        context: WorkerContext,
        describe: Callable[[], dict[str, str]],
        well: Callable[[], bool],
        on_workers: Callable[[list[WorkerInfo]], None] | None,
    ) -> None:
        super().__init__(name="heartbeat")
        self._worker_context = context
        self._settings, self._queue = context.settings, context.queue
        self._describe = describe
        self._well = well
        #: When (monotonic) this thread last ran.
        self.last_beat = time.monotonic()
        self._on_workers = on_workers
        self._stop_asked = False
        self._requested = threading.Event()

    def beat_now(self) -> None:
        """The entry has changed: publish it soon instead of at the next interval."""
        self._requested.set()

    def stop(self, within_s: float | None = None) -> None:
        """End the thread and deregister the worker; wait for that, for `within_s` seconds at most."""
        self._stop_asked = True
        self._requested.set()
        self.join(within_s)

    def run(self) -> None:
        while not self._stop_asked:
            self.last_beat = time.monotonic()
            if self._well():
                self._beat()
            if self._requested.wait(self._settings.heartbeat_s) and not self._stop_asked:
                time.sleep(min(CALM_S, self._settings.heartbeat_s))
            self._requested.clear()
        try:
            self._queue.registry.leave(self._worker_context.worker_id)
        except ClusterError as error:
            logger.warning(
                "could not deregister worker; its entry will expire", extra={"action": "leave", "why": str(error)}
            )

    def _beat(self) -> None:
        self._touch_health_file()
        try:
            lost = self._queue.renew(
                self._worker_context.worker_id, self._worker_context.in_flight.ids(), self._settings.batch_lease_s
            )
            self._queue.registry.announce(
                self._worker_context.worker_id, self._describe(), ttl_s=max(ENTRY_S, self._settings.batch_lease_s * 2)
            )
            if self._on_workers is not None:
                self._on_workers(self._queue.registry.workers())
        except ClusterError as error:
            # The fetcher logs this; without Redis no other worker can take our batches either.
            logger.debug("no heartbeat without Redis", extra={"action": "beat", "why": str(error)})
            return
        if lost:
            # We were silent for too long. Other workers redo the batches, and the commit drops duplicates.
            logger.warning("other workers took over batches of this one", extra={"action": "renew", "batches": lost})

    def _touch_health_file(self) -> None:
        if self._settings.health_file is not None:
            # A health check sees that the file is old or missing; the leases are renewed all the same.
            with contextlib.suppress(OSError):
                self._settings.health_file.touch()
