"""Keeps this worker's claims alive: leases, card, health file. Runs no user code and waits for nobody.

Only while the worker is well: the claims of one whose main loop does not turn run out, and others do its batches.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from sheaf.broker.queue import BatchQueue, WorkerInfo
from sheaf.core.errors import ClusterError
from sheaf.core.settings import Settings
from sheaf_worker.claim.in_flight import InFlight

logger = logging.getLogger(__name__)

#: Seconds for which a worker's card stays after its last beat (two leases, if those are longer): time enough for a
#: person to see that it gives no sign of life any more.
CARD_S = 120.0
#: Seconds between two beats at least, however often the card changes.
CALM_S = 0.5


class Heartbeat(threading.Thread):
    """One thread. `card` returns the fields to show; `well` whether the worker's main loop turns.

    `look` is shown the cards of all workers at each beat.
    """

    def __init__(
        self,
        settings: Settings,
        queue: BatchQueue,
        in_flight: InFlight,
        worker: str,
        card: Callable[[], dict[str, str]],
        well: Callable[[], bool],
        look: Callable[[list[WorkerInfo]], None] | None,
    ) -> None:
        super().__init__(name="heartbeat")
        self._settings = settings
        self._queue = queue
        self._in_flight = in_flight
        self._worker = worker
        self._card = card
        self._well = well
        #: When (monotonic) this thread last came round.
        self.beaten = time.monotonic()
        self._look = look
        self._stop_asked = False
        self._nudged = threading.Event()

    def beat_now(self) -> None:
        """What the card shows has changed: show it soon, not only with the next beat."""
        self._nudged.set()

    def stop(self, within_s: float | None = None) -> None:
        """End the thread and take the worker's card away; wait for that, or for so many seconds."""
        self._stop_asked = True
        self._nudged.set()
        self.join(within_s)

    def run(self) -> None:
        while not self._stop_asked:
            self.beaten = time.monotonic()
            if self._well():
                self._beat()
            if self._nudged.wait(self._settings.heartbeat_s) and not self._stop_asked:
                time.sleep(min(CALM_S, self._settings.heartbeat_s))
            self._nudged.clear()
        try:
            self._queue.leave(self._worker)
        except ClusterError as error:
            logger.warning(
                "card was not taken away; it expires by itself", extra={"action": "leave", "why": str(error)}
            )

    def _beat(self) -> None:
        self._touch_health_file()
        try:
            lost = self._queue.renew(self._worker, self._in_flight.ids(), self._settings.batch_lease_s)
            self._queue.announce(self._worker, self._card(), ttl_s=max(CARD_S, self._settings.batch_lease_s * 2))
            if self._look is not None:
                self._look(self._queue.workers())
        except ClusterError as error:
            # The fetcher says so in the log; without Redis nobody else can take our batches either.
            logger.debug("no beat without Redis", extra={"action": "beat", "why": str(error)})
            return
        if lost:
            # We were silent for too long. Whoever has them now does them again; the commit drops what comes second.
            logger.warning("batches were taken over by others", extra={"action": "renew", "batches": lost})

    def _touch_health_file(self) -> None:
        if self._settings.health_file is not None:
            # Who looks at the file sees that it is old or gone; that is no reason to lose the leases as well.
            with contextlib.suppress(OSError):
                self._settings.health_file.touch()
