"""Sends a child's results to its worker: collected, in portions, by way of the ring if they are large.

Beside the results go the child's reports: what it waits for, what it has parked, why it cannot serve its run.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from sheaf.core import waits
from sheaf.run.items import Done, Failed, Result
from sheaf.tasks.protocol import Pair, Step
from sheaf_worker.wire.channel import Message, encode, pack_indexes
from sheaf_worker.wire.exit_codes import PIPE_LOST
from sheaf_worker.wire.ring import RingWriter
from sheaf_worker.wire.slots import SERIAL

#: Results are sent when they fill a portion of the ring, when they are this old (s), or when there is nothing to do.
FLUSH_S = 0.05
#: Seconds for which a thread waits for the cluster before that is reported to the worker.
WAIT_S = 0.1
#: Bytes that a result counts for besides its record.
_RESULT_BYTES = 32
#: Records of fewer bytes than this are part of the message instead of going through the ring.
_SHARED_FROM = 1 << 14


class Outbox:
    """Collects results. add() belongs to the task's thread; flush() and send() may be called by any."""

    def __init__(self, connection: Connection, ring: RingWriter) -> None:
        self._connection = connection
        self._ring = ring
        self._portion = ring.portion
        self._lock = threading.Lock()
        # One thread appends, and flushing takes from the left: neither needs a lock.
        self._done: deque[tuple[int, bytes]] = deque()
        self._failed: deque[tuple[int, str, str, int]] = deque()
        self._bytes = 0
        self._flushed = time.monotonic()
        #: Threads that wait for the cluster, as last reported.
        self._reported_waits = 0
        #: Seconds since the last flush in which there was nothing to do.
        self.waited_s = 0.0

    def add(self, result: Result) -> None:
        """Raises TypeError for what is not a result."""
        if type(result) is Done:
            index, record = result
            if type(record) is not bytes or type(index) is not int:
                kinds = f"Done({type(index).__name__}, {type(record).__name__})"
                raise TypeError(f"a task gave {kinds} as a result; it has to be Done(int, bytes)")
            self._done.append(result)
            self._bytes += len(record) + _RESULT_BYTES
        elif type(result) is Failed:
            self._failed.append((result.index, str(result.error), str(result.message), int(result.attempts)))
            self._bytes += len(result.message) + _RESULT_BYTES
        else:
            raise TypeError(f"a task gave {type(result).__name__} as a result; it has to be Done or Failed")
        # The clock is not read for each item: the helper sends what is overdue.
        if self._bytes >= self._portion:
            self.flush()

    def do_all(self, pairs: Iterator[Pair], step: Step, cells: memoryview) -> None:
        """Do items one after the other until none is left, like add() for each in fewer steps."""
        append, size, portion = self._done.append, self._bytes, self._portion
        for pair in pairs:
            index = pair[0]
            cells[SERIAL] = index + 1
            record = step(pair)
            if type(record) is bytes:
                append((index, record))
                size += len(record) + _RESULT_BYTES
                if size >= portion:
                    self.flush()
                    size = 0
            else:
                self.add(record)  # type: ignore[arg-type]  # not bytes; add() raises if it is not Failed either
        self._bytes = size

    def flush(self) -> None:
        with self._lock:
            done = [self._done.popleft() for _ in range(len(self._done))]
            failed = [self._failed.popleft() for _ in range(len(self._failed))]
            now = time.monotonic()
            busy_s = max(0.0, now - self._flushed - self.waited_s)
            self._bytes, self.waited_s, self._flushed = 0, 0.0, now
            # The worker takes results as a sign that no thread waits any more.
            self._reported_waits = 0 if done or failed else self._reported_waits
            if done:
                self._send(("results", *self._packed(done), failed, busy_s))
            elif failed:
                self._send(("results", (), b"", b"", failed, busy_s))

    def _packed(self, done: list[tuple[int, bytes]]) -> tuple[tuple[int, ...], bytes, int | bytes]:
        """Indexes, lengths, and the records: their position in the ring, or their bytes if it has no room."""
        indexes, records = zip(*done, strict=True)
        lengths = array("Q", map(len, records))
        size = sum(lengths)
        place = self._ring.put(records, size) if size >= _SHARED_FROM else None
        return pack_indexes(indexes), lengths.tobytes(), b"".join(records) if place is None else place

    def flush_if_due(self) -> None:
        if (self._done or self._failed) and time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def report_waits(self) -> None:
        """Report how many threads of the task wait for the cluster, if that has changed."""
        count = waits.lasting(WAIT_S)
        if count != self._reported_waits:
            with self._lock:
                self._reported_waits = count
                self._send(("waits", count))

    def send(self, *message: Any) -> None:
        with self._lock:
            self._send(message)

    def detach(self) -> None:
        """In a forked copy: the lock's holder may not exist there, and the results are the original's."""
        self._lock = threading.Lock()
        self._ring.detach()
        self._done.clear()
        self._failed.clear()

    def _send(self, message: Message) -> None:
        try:
            self._connection.send_bytes(encode(message))
        except OSError:
            os._exit(PIPE_LOST)
