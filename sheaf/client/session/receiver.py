"""Brings a session's results home: woken by workers that have committed, and looking by itself at times."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import redis
from redis.client import PubSub

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.broker.queue import BatchQueue
from sheaf.broker.replies import text
from sheaf.client.session.capacity import Capacity
from sheaf.client.session.cleanup import Cleanup
from sheaf.client.session.results import Segment
from sheaf.client.session.stream import Stream
from sheaf.core.errors import ClusterError, OutputError, OutputRefused, TaskChanged
from sheaf.tasks import versions

logger = logging.getLogger(__name__)

#: Seconds between two looks at everything that is out: a message may be lost; without Redis there are none.
LOOK_S, BLIND_LOOK_S = 1.0, 0.05
#: Seconds without a result after which it is asked why, and asked again.
STALL_S = 5.0


class Receiver(threading.Thread):
    """`out` holds the segments that are out, by the names of their runs; the sending thread adds to it."""

    def __init__(
        self,
        session: str,
        connection: redis.Redis,
        queue: BatchQueue,
        capacity: Capacity,
        tasks_dir: Path,
        room: Callable[[], None],
        broken: Callable[[BaseException], None],
        watch: Callable[[], None],
    ) -> None:
        super().__init__(name="sheaf-receiver", daemon=True)
        self.out: dict[str, Segment] = {}
        self.cleanup = Cleanup()
        self._channel = keys.COMMITTED_PREFIX + session
        self._connection = connection
        self._queue = queue
        self._capacity = capacity
        self._tasks_dir = tasks_dir
        #: Called when a stream may send more.
        self._room = room
        #: Called when this thread cannot go on.
        self._broken = broken
        #: Called from time to time: the sending thread may have ended.
        self._watch = watch
        self._cancelled: deque[Stream] = deque()
        self._closed = False
        self._moved = time.monotonic()
        self._reported: str | None = None
        self._listening: PubSub | None = self._listen()

    def cancel(self, stream: Stream) -> None:
        """Give up what is out of a stream. Does next to nothing itself: the garbage collector may be what calls it."""
        self._cancelled.append(stream)

    def close(self) -> None:
        self._closed = True
        try:
            with redis_errors():
                self._connection.publish(self._channel, "")
        except ClusterError:
            pass  # it finds out by itself, a little later
        self.join()

    def run(self) -> None:
        try:
            self._receive_until_closed()
        except BaseException as error:  # noqa: BLE001 - passed on to all who wait
            self._broken(error)
        if self._listening is not None:
            self._listening.close()
        self.cleanup.empty()

    def _receive_until_closed(self) -> None:
        looked = time.monotonic()
        while not self._closed:
            names = self._wait(LOOK_S if self._listening else BLIND_LOOK_S)
            now = time.monotonic()
            if names is None or now - looked >= LOOK_S:
                looked = now
                names = list(self.out)
                self._look_around(now)
            for name in names:
                segment = self.out.get(name)
                if segment is not None:
                    self._receive(segment)
            self.cleanup.sweep(now)

    # --- what is heard ---

    def _listen(self) -> PubSub | None:
        listening: PubSub = self._connection.pubsub()
        try:
            with redis_errors():
                listening.subscribe(self._channel)
                if listening.get_message(timeout=LOOK_S) is None:
                    raise redis.exceptions.TimeoutError("no answer to SUBSCRIBE")
        except ClusterError as error:
            logger.debug(
                "no notifications from Redis; polling for results", extra={"action": "listen", "why": str(error)}
            )
            listening.close()
            return None
        return listening

    def _wait(self, timeout_s: float) -> list[str] | None:
        """Names of the runs that were committed to; None: not known, look at all."""
        if self._listening is None:
            time.sleep(timeout_s)
            self._listening = self._listen()
            return None
        try:
            with redis_errors():
                message: Any = self._listening.get_message(timeout=timeout_s)
                names: list[str] = []
                while message is not None:
                    if message["type"] == "message":
                        names += text(message["data"]).split()
                    message = self._listening.get_message(timeout=0)
        except ClusterError:
            self._listening.close()
            self._listening = None
            return None
        return names

    # --- what has come ---

    def _receive(self, segment: Segment) -> None:
        try:
            chunks = segment.result_file.fresh(segment)
        except OutputError as error:
            if not self._closed:
                self._lose(segment, error)
            return
        if chunks:
            self._moved = time.monotonic()
            segment.stream.receive(segment, chunks)
        if segment.complete:
            segment.stream.sizer.learn(segment.count, time.monotonic() - segment.sent, segment.result_bytes)
            self._let_go(segment)

    def _lose(self, segment: Segment, error: Exception) -> None:
        self._let_go(segment)
        segment.stream.fail(error, segment.first)

    def _let_go(self, segment: Segment, *, unfinished: bool = False) -> None:
        del self.out[segment.name]
        segment.result_file.open.discard(segment.name)
        self.cleanup.add(segment, unfinished=unfinished)
        self._room()

    def _look_around(self, now: float) -> None:
        """What has to be done from time to time, or while there is nothing else to do."""
        self._watch()
        while self._cancelled:
            self._give_up(self._cancelled.popleft())
        try:
            if self._capacity.due:
                self._capacity.look()
            if self.out and now - self._moved >= STALL_S:
                self._moved = now
                self._ask_why()
        except ClusterError as error:
            self._say(f"{error}; the results come when it is back")

    def _give_up(self, stream: Stream) -> None:
        given_up = [segment for segment in self.out.values() if segment.stream is stream]
        for segment in given_up:
            self._let_go(segment, unfinished=True)
        withdraw(self._queue, given_up)

    def _ask_why(self) -> None:
        """Nothing has come for a while: long items, perhaps; or something that a person should know."""
        segment = min(self.out.values(), key=lambda segment: segment.sent)
        try:
            versions.check(segment.run, self._tasks_dir)
        except TaskChanged as error:
            # Workers leave it alone, and so will they all that was sent off before the change.
            self._lose(segment, error)
            self._moved = 0.0
            return
        problem = self._queue.registry.problem(segment.name)
        if problem is not None and problem.refused:
            self._lose(segment, OutputRefused(problem.text))
        elif problem is not None:
            self._say(f"no results come: {problem.text}")
        elif not self._capacity.look():
            self._say(f"no results come: {self._capacity.why_nobody()}")

    def _say(self, text: str) -> None:
        if text != self._reported:
            self._reported = text
            logger.warning("%s", text, extra={"action": "stall"})


def withdraw(queue: BatchQueue, segments: Iterable[Segment]) -> None:
    """Have workers neither begin these segments nor go on with them."""
    batches = []
    for segment in segments:
        manifest = segment.run.manifest
        segment.run.cancel()
        batches += [manifest.batch(number) for number in range(manifest.batches)]
    try:
        queue.withdraw(batches)
    except ClusterError as error:
        logger.debug(
            "could not notify workers that calls were cancelled; they will find out from the volume",
            extra={"action": "withdraw", "why": str(error)},
        )
