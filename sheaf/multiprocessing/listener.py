"""Wakes the threads of this process that wait for something shared: one thread and connection, from the first wait on.

Messages are the keys of objects that have changed. One that is lost (with Redis, with the connection) costs a second:
a waiter looks by itself that often.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import redis
from redis.client import PubSub

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.core.errors import ClusterError

logger = logging.getLogger(__name__)

#: Seconds for which a read lasts at most, and that Redis may take to confirm that we listen.
_READ_S, _CONFIRM_S = 1.0, 5.0
_PAUSE_S = 0.2


class Listener:
    """What one process of a program hears."""

    def __init__(self, connection: redis.Redis, program: str, process: str) -> None:
        self._connection = connection
        self._own = keys.of_program(program, keys.MP_WAKE + process)
        self._channels = (self._own, keys.of_program(program, keys.MP_WAKE_ALL))
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._confirmed = threading.Event()
        self._closed = False

    @contextlib.contextmanager
    def waiting(self, names: Iterable[str]) -> Iterator[threading.Event]:
        """The event is set whenever something has happened to one of these keys. We listen already when it is given."""
        self._ensure()
        wakeup = threading.Event()
        names = tuple(names)
        with self._lock:
            for name in names:
                self._waiting.setdefault(name, set()).add(wakeup)
        try:
            yield wakeup
        finally:
            with self._lock:
                for name in names:
                    events = self._waiting.get(name, set())
                    events.discard(wakeup)
                    if not events:
                        self._waiting.pop(name, None)

    def close(self) -> None:
        self._closed = True
        thread = self._thread
        if thread is None or self._pid != os.getpid() or thread is threading.current_thread():
            return
        with contextlib.suppress(ClusterError), redis_errors():
            self._connection.publish(self._own, "")
        thread.join(2 * _READ_S)

    def _ensure(self) -> None:
        if self._thread is None or self._pid != os.getpid() or not self._thread.is_alive():
            with self._lock if self._pid in (0, os.getpid()) else contextlib.nullcontext():
                self._start()
        # If Redis does not confirm in time, looking every second does.
        self._confirmed.wait(_CONFIRM_S)

    def _start(self) -> None:
        if self._pid != os.getpid():
            # Forked: the thread and the waiters are in the other process, and so may be the lock's holder.
            self._lock, self._waiting, self._confirmed = threading.Lock(), {}, threading.Event()
        elif self._thread is not None and self._thread.is_alive():
            return
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._listen, name="sheaf-listener", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed:
            try:
                with redis_errors():
                    self._hear()
            except ClusterError as error:
                logger.debug("not listening: %s", error, extra={"action": "listen"})
                threading.Event().wait(_PAUSE_S)

    def _hear(self) -> None:
        with self._connection.pubsub() as listening:
            listening.subscribe(*self._channels)
            for _ in self._channels:
                if listening.get_message(timeout=_CONFIRM_S) is None:
                    raise redis.exceptions.TimeoutError(f"no answer to SUBSCRIBE within {_CONFIRM_S:g} s")
            self._confirmed.set()
            # What happened before is not known.
            self._wake_all()
            while not self._closed:
                self._pass_on(listening)

    def _pass_on(self, listening: PubSub) -> None:
        message: Any = listening.get_message(timeout=_READ_S)
        if message is None or message["type"] != "message":
            return
        name = bytes(message["data"]).decode()
        with self._lock:
            for event in self._waiting.get(name, ()):
                event.set()
        if name == "ended":
            self._wake_all()

    def _wake_all(self) -> None:
        with self._lock:
            for events in self._waiting.values():
                for event in events:
                    event.set()
