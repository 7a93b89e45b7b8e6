"""A function over many items: the stream behind `map`, and the iterator over its results."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from sheaf.client.calls import encode_items
from sheaf.client.session.results import Chunk, Segment
from sheaf.client.session.sizing import LARGEST_BYTES, ChunkSizer
from sheaf.client.session.stream import CallTarget, broken_by, failures_of
from sheaf.core.errors import ClusterError, TaskFailed
from sheaf.core.waits import waiting

#: Items that are read ahead of what is sent off, at least.
_READ_AHEAD = 16
#: Seconds between two looks whether there is room for more, or whether the stream was closed.
_LOOK_S = 0.05

Encode = Callable[[list[Any]], tuple[list[str], Exception | None]]


class ItemStream:
    """Reads the items in a thread of its own, as far ahead as they are needed: the input may be endless, or slow."""

    def __init__(
        self,
        target: CallTarget,
        items: Iterable[Any],
        wake: Callable[[], None],
        *,
        ordered: bool,
        encode: Encode = encode_items,
        called_at: tuple[str, int] = ("<unknown>", 0),
    ) -> None:
        """`called_at`: file and line of the program's call."""
        self.target = target
        self.called_at = called_at
        self.sizer = ChunkSizer(target.concurrency)
        self.sent = 0
        self.ordered = ordered
        self._wake = wake
        self._encode = encode
        self._buffer: deque[Any] = deque()
        self._room = threading.Event()
        #: What ended the input too early: an exception of its own, or an item that cannot be sent.
        self._error: BaseException | None = None
        self._read_all = False
        #: Items are neither in the buffer nor in a segment right now.
        self._taking = False
        self.closed = False
        #: Nothing more will come, whatever is still out.
        self._ended = False
        #: Whether anybody has asked for results, or said that none are wanted.
        self.heeded = False
        self._changed = threading.Condition()
        #: Segments with results that were not taken yet; in the input's order if that is wanted.
        self._segments: dict[int, _Arrived] = {}
        self._next = 0
        self._thread = threading.Thread(target=self._read, args=(iter(items),), name="sheaf-items", daemon=True)
        self._thread.start()

    # --- the thread that reads ---

    def _read(self, items: Iterator[Any]) -> None:
        append, buffer, wake = self._buffer.append, self._buffer, self._wake
        try:
            for item in items:
                try:
                    append(item)
                    wake()
                    if len(buffer) >= 2 * max(self.sizer.size, _READ_AHEAD) and not self._wait_for_room():
                        return
                except BaseException as error:  # noqa: BLE001 - passed on as what it is: not the items'
                    self._error = broken_by(error)
                    return
                if self.closed:
                    return
        except BaseException as error:  # noqa: BLE001 - the caller's own iterable; raised where its next item would come
            self._error = error
        finally:
            with self._changed:
                self._read_all = True
                self._changed.notify_all()
            wake()

    def _wait_for_room(self) -> bool:
        while len(self._buffer) >= 2 * max(self.sizer.size, _READ_AHEAD):
            if self.closed:
                return False
            self._room.clear()
            self._room.wait(_LOOK_S)
        return True

    # --- the threads that send and receive ---

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    @property
    def held(self) -> int:
        return sum(arrived.complete for arrived in list(self._segments.values()))

    def take(self) -> list[str]:
        with self._changed:
            items = [self._buffer.popleft() for _ in range(min(self.sizer.size, len(self._buffer)))]
            self._taking = True
        self._room.set()
        lines, error = self._encode(items)
        kept = _fitting(lines)
        with self._changed:
            self._taking = False
            if kept:
                self._segments[self.sent] = _Arrived(kept)
            if kept < len(lines):
                self._buffer.extendleft(reversed(items[kept:]))
        if kept == len(lines) and error is not None:
            self._stop_reading(error)
        return lines[:kept]

    def _stop_reading(self, error: Exception) -> None:
        """An item cannot be sent: what comes before it is done, then the error is raised."""
        with self._changed:
            self.closed = self._read_all = True
            self._error = error
            self._buffer.clear()
            self._changed.notify_all()

    def receive(self, segment: Segment, chunks: list[Chunk]) -> None:
        failures = [failed for chunk in chunks for failed in failures_of(segment, chunk.failures)]
        with self._changed:
            arrived = self._segments.get(segment.first)
            if arrived is not None:
                arrived.add(chunks, failures)
                self._changed.notify_all()

    def fail(self, error: Exception, first: int) -> None:
        with self._changed:
            self._segments = {place: arrived for place, arrived in self._segments.items() if place < first}
        self._stop_reading(error)

    def end(self, error: Exception) -> None:
        # The thread that took items to send them may be the one that broke: they are not waited for.
        self._ended = True
        self.fail(error, 0)

    # --- the thread that consumes ---

    def results(self) -> list[Any]:
        """Wait for the next results, values and failures mixed; none: there are no more.

        Raises what has ended the input too early, once all results before that were given.
        """
        self.heeded = True
        with waiting, self._changed:
            while True:
                found = self._ordered() if self.ordered else self._any()
                if found:
                    return found
                if self._ended or not (self._thread.is_alive() or self._read_all):
                    raise self._error or ClusterError(
                        "the thread that reads this map's items has ended; start it again"
                    )
                if self._read_all and not self._segments and not self._buffer and not self._taking:
                    if self._error is not None:
                        raise self._error
                    return []
                self._changed.wait(1.0)

    def _ordered(self) -> list[Any]:
        arrived = self._segments.get(self._next)
        if arrived is None:
            return []
        found = arrived.in_order()
        self._drop_if_done(self._next, arrived)
        return found

    def _any(self) -> list[Any]:
        for place, arrived in self._segments.items():
            found = arrived.as_come()
            if found:
                self._drop_if_done(place, arrived)
                return found
        return []

    def _drop_if_done(self, place: int, arrived: _Arrived) -> None:
        if arrived.taken == arrived.count:
            del self._segments[place]
            self._next = place + arrived.count
            self._wake()

    def close(self) -> None:
        self.closed = True
        self._room.set()

    def loose_ends(self) -> str | None:
        if self.heeded:
            return None
        return (
            f"the results of map({self.target.spec.task}) were never read, and items are only worked on as results are "
            "read; write list(cluster.map(…)), or loop over it"
        )


class _Arrived:
    """The results of one segment, from their coming to their being taken."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0
        self._came = 0
        self._chunks: deque[Chunk] = deque()
        self._values: dict[int, Any] = {}

    @property
    def complete(self) -> bool:
        return self._came == self.count

    def add(self, chunks: list[Chunk], failures: list[tuple[int, TaskFailed]]) -> None:
        self._chunks.extend(chunk for chunk in chunks if chunk.data)
        self._values.update(failures)
        self._came += sum(len(chunk.indexes) for chunk in chunks)

    def in_order(self) -> list[Any]:
        """Take the results up to the first that is missing."""
        self._decode()
        values, found, index = self._values, [], self.taken
        while index in values:
            found.append(values.pop(index))
            index += 1
        self.taken = index
        return found

    def as_come(self) -> list[Any]:
        """Take what is there."""
        self._decode()
        found = list(self._values.values())
        self._values.clear()
        self.taken += len(found)
        return found

    def _decode(self) -> None:
        while self._chunks:
            self._values.update(self._chunks.popleft().values())


def _fitting(lines: list[str]) -> int:
    """How many of the lines, from the first on, one segment should hold; at least one, if there is any."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line)
        if size > LARGEST_BYTES and number:
            return number
    return len(lines)


def _give_up(stream: ItemStream, cancel: Callable[[ItemStream], None]) -> None:
    if not stream.closed and (forgotten := stream.loose_ends()):
        stream.heeded = True
        # Not where the garbage is collected, but where the call is written.
        warnings.warn_explicit(forgotten, RuntimeWarning, *stream.called_at)
    stream.close()
    cancel(stream)


class Results(Iterator[Any]):
    """What `Cluster.map` returns: the results, one after the other, as they come or in the items' order.

    An item that failed raises TaskFailed in its place (or is given as one); the next call continues after it.
    """

    def __init__(self, stream: ItemStream, *, raising: bool, cancel: Callable[[ItemStream], None]) -> None:
        self._stream = stream
        self._raising = raising
        self._ready: deque[Any] = deque()
        self._finalizer = weakref.finalize(self, _give_up, stream, cancel)

    def __iter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        begun = "" if self._stream.heeded else ", not read yet: list() or a loop gives them"
        return f"<results of map({self._stream.target.spec.task}){begun}>"

    def __next__(self) -> Any:
        if not self._ready:
            self._ready = deque(self.take_ready())
            if not self._ready:
                self.close()
                raise StopIteration
        value = self._ready.popleft()
        if type(value) is TaskFailed and self._raising:
            raise value
        return value

    def take_ready(self) -> list[Any]:
        """Wait for results and take all that are there; none: there are no more."""
        found, self._ready = list(self._ready), deque()
        return found or (self._stream.results() if self._finalizer.alive else [])

    def close(self) -> None:
        """Send off nothing more, and drop what is still on its way."""
        self._stream.heeded = True
        self._ready.clear()
        self._finalizer()
