"""A queue that programs and tasks share through Redis, with the methods of `queue.Queue`."""

from __future__ import annotations

import contextlib
import json
import queue
import time
from collections.abc import Callable
from typing import Any

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.client.shared.values import Requests, check_name, encode, whole_number
from sheaf.core.waits import waiting

#: Seconds that a waiter sleeps at most before it looks by itself.
LOOK_S = 1.0


class SharedQueue:
    """First in, first out, JSON values; each is given to one consumer, once. A consumer that dies loses its value."""

    def __init__(self, connection: redis.Redis, name: str, maxsize: int = 0) -> None:
        self.name = check_name(name)
        #: How many values it holds at most, as this side sees it; 0: any number.
        self.maxsize = whole_number(maxsize, "maxsize")
        self._connection = connection
        self._key = keys.QUEUE_PREFIX + name
        #: Those who wait to get something sleep on the one, those who wait to put something on the other.
        self._wake, self._room = self._key + keys.QUEUE_WAKE_SUFFIX, self._key + keys.QUEUE_ROOM_SUFFIX
        self._put, self._take = Requests(connection, "shared_put"), Requests(connection, "shared_take")

    def put(self, value: Any, block: bool = True, timeout: float | None = None) -> None:
        """Raises queue.Full if there is no room in time."""
        text = encode(value)

        def step() -> str:
            return self._put([self._key, self._wake], [text, self.maxsize])

        if self._try(step, self._room, block, timeout) is None:
            raise queue.Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Raises queue.Empty if nothing comes in time."""
        answer = self._try(lambda: self._take([self._key, self._room]), self._wake, block, timeout)
        if answer is None:
            raise queue.Empty
        return json.loads(answer)

    def put_nowait(self, value: Any) -> None:
        self.put(value, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        with redis_errors():
            length: Any = self._connection.llen(self._key)
        return int(length)

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        return 0 < self.maxsize <= self.qsize()

    def delete(self) -> None:
        """Leave nothing of it in Redis."""
        with redis_errors():
            self._connection.delete(self._key, self._wake, self._room)

    def _try(self, step: Callable[[], str], call: str, block: bool, timeout: float | None) -> str | None:
        """Do the step, or wait until it can be done; None: it could not be in time."""
        if timeout is not None and not timeout >= 0:  # NaN is neither
            raise ValueError("'timeout' must be a non-negative number")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            answer = step()
            if answer.startswith("+"):
                return answer[1:]
            left_s = LOOK_S if deadline is None else deadline - time.monotonic()
            if not block or left_s <= 0:
                return None
            with waiting:
                self._sleep(call, min(left_s, LOOK_S))

    def _sleep(self, call: str, at_most_s: float) -> None:
        """Sleep until woken. A broken connection only ends the sleep: the next step shows what is wrong."""
        broken = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
        with redis_errors(), contextlib.suppress(*broken):
            self._connection.blpop([call], timeout=max(at_most_s, 0.01))

    def __repr__(self) -> str:
        return f"<shared queue {self.name!r}>"
