"""Listens for starts and signals, so that the host need not look all the time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import redis

from sheaf.broker import keys
from sheaf.broker.wakeup import Notifier
from sheaf.core.errors import ClusterError

logger = logging.getLogger(__name__)

#: Seconds for which it listens at once, and until it tries again without Redis.
_LISTEN_S, _RETRY_S = 1.0, 1.0


class Calls(threading.Thread):
    """One thread. `wake` is called when there may be something to do."""

    def __init__(self, connection: redis.Redis, wake: Callable[[], None]) -> None:
        super().__init__(name="hosting-calls")
        self._notifier = Notifier(connection, keys.MP_CALL, slice_s=_LISTEN_S)
        self._wake = wake
        self._stop_asked = threading.Event()

    def stop(self, within_s: float | None = None) -> None:
        self._stop_asked.set()
        self._notifier.interrupt()
        if self.ident is not None:
            self.join(within_s)

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                if self._notifier.wait(_LISTEN_S):
                    self._wake()
            except ClusterError as error:
                logger.debug("not listening without Redis", extra={"action": "host", "why": str(error)})
                self._stop_asked.wait(_RETRY_S)
        self._notifier.close()
