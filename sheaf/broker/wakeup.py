"""Step 2 of 6, the wakeup: a message when something is queued, or a run is finished, so that others can sleep."""

from __future__ import annotations

import threading
import time

import redis
from redis.client import PubSub

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.core.errors import ClusterError

#: Seconds after which a sleeper looks whether it was interrupted.
SLICE_S = 0.1
#: Seconds that Redis may take to confirm that we listen.
LISTEN_S = 5.0


class Notifier:
    """Listens on a connection of its own, from the first `wait()` on. For one thread; `interrupt()` is for any other.

    A message may be lost with Redis or with the connection: look for yourself from time to time all the same.
    """

    def __init__(self, connection: redis.Redis, channel: str = keys.WAKEUP, *, slice_s: float = SLICE_S) -> None:
        """`slice_s`: how long an interruption may take."""
        self._connection = connection
        self._slice_s = slice_s
        self._channel = channel
        self._listening: PubSub | None = None
        self._interrupted = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Return True when something may have happened, False when the time is over or `interrupt()` was called.

        What was rung since the last `wait()` counts. The first time, and the first time after Redis was away, it is not
        known what was missed: the answer is True at once.
        """
        deadline = time.monotonic() + timeout_s
        try:
            with redis_errors():
                if self._listening is None:
                    self._listening = self._listen()
                    return True
                return self._wait(self._listening, deadline)
        except ClusterError:
            self.close()
            raise

    def interrupt(self) -> None:
        """End the `wait()` that is going on, or else the next one."""
        self._interrupted.set()

    def close(self) -> None:
        """Stop listening and give the connection back."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _wait(self, listening: PubSub, deadline: float) -> bool:
        while not self._interrupted.is_set():
            left_s = deadline - time.monotonic()
            if listening.get_message(timeout=max(0.0, min(left_s, self._slice_s))) is not None:
                # One look answers all that were rung so far.
                while listening.get_message(timeout=0) is not None:
                    pass
                return True
            if left_s <= 0:
                return False
        self._interrupted.clear()
        return False

    def _listen(self) -> PubSub:
        listening: PubSub = self._connection.pubsub()
        try:
            listening.subscribe(self._channel)
            # From the confirmation on nothing is missed; before it, something may be.
            if listening.get_message(timeout=LISTEN_S) is None:
                raise redis.exceptions.TimeoutError(f"no answer to SUBSCRIBE within {LISTEN_S:g} s")
        except BaseException:
            listening.close()
            raise
        return listening
