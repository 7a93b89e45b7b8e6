"""What travels between a worker and a child of its pool, and the worker's end of the pipe, which never blocks.

    to the child     ("program", run, spec, output, separator)  what the items that follow belong to
                     ("items", indexes, texts)                 sent only while the child serves their run
                     ("numbers", indexes, (start, stop, step)) the same, the items being these numbers
                     ("alone",)                                no further items come along with the last ones
                     ("recall",)                               give back what you have not begun
                     ("end",)                                  finish what you have begun, then exit
    from the child   ("hello",)                                the process is up
                     ("ready", window, at_once, keeps)         the task is imported; `keeps`: it has opened something
                     ("delayed", why)                          the task cannot be imported now; it is retried
                     ("refused", error, message)               the task cannot be imported or used with these options
                     ("lacks", why)                            the system refuses what it needs to start; it exits
                     ("results", indexes, lengths, records, failures, busy_s)
                                                               records: their bytes, or their position in the ring
                     ("choices", [(name, value, why)])         what the task has decided by itself
                     ("parked", count)                         items put aside by the task: it has room for as many
                     ("waits", count)                          number of the task's threads that wait for the cluster
                     ("returned", indexes)                     the answer to a recall
                     ("broke", error, message, indexes)        an exception escaped the task with these items in hand

A message is marshalled, which is twice as fast as pickle and cannot execute code. The frame around it is the one of
`multiprocessing.connection.Connection`, which is what the child uses.
"""

from __future__ import annotations

import dataclasses
import itertools
import marshal
import os
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from operator import lt
from typing import Any, NamedTuple

from sheaf.core.errors import TaskError
from sheaf.core.ranges import to_ranges
from sheaf.run.task_spec import TaskSpec

Message = tuple[Any, ...]

#: Bytes asked of the kernel in one read, and the size the buffer goes back to after a large message.
_READ_BYTES = 1 << 18
_SIZE = struct.Struct(">i")
_LARGE_SIZE = struct.Struct(">iQ")
#: Version 2 has no references, which would cost a look-up per string; nothing here is shared or recursive.
_MARSHAL_VERSION = 2
#: How every message starts: it is a tuple of a few fields.
_OPENING, _TUPLE, _MOST_PARTS = struct.Struct("<cI"), b"(", 8
#: Fewer indexes than this, or spans that are shorter on average, are sent one by one.
_SPANS_FROM, _SHORTEST_SPAN = 256, 64


class TaskRun(NamedTuple):
    """What to apply to the items of one run."""

    run: str
    #: The task with its options as they apply here, and with the version of its files that is in force: items are done
    #: by that version or not at all.
    spec: TaskSpec
    #: The output's file name; its suffix chooses the record format.
    output: str
    #: The word in the headings of the output's pages, if it has one.
    separator: str = ""


def encode(message: Message) -> bytes:
    return marshal.dumps(message, _MARSHAL_VERSION)


def decode(frame: bytes | memoryview) -> Message:
    message: Message = marshal.loads(frame)  # noqa: S302 - from our own child; marshal builds plain values only
    return message


def pack_indexes(indexes: Sequence[int]) -> tuple[int, ...]:
    """Encode indexes: for each span of consecutive ones the first and minus their number; or all one by one."""
    count = len(indexes)
    if count > 2 and indexes[-1] - indexes[0] == count - 1:
        consecutive = range(indexes[0], indexes[-1] + 1)
        if indexes == consecutive or tuple(indexes) == tuple(consecutive):
            return (indexes[0], -count)
    if count >= _SPANS_FROM and all(map(lt, indexes, itertools.islice(indexes, 1, None))):
        ranges = to_ranges(indexes)
        if len(ranges) * _SHORTEST_SPAN <= count:
            return tuple(itertools.chain.from_iterable((first, first - end) for first, end in ranges))
    return tuple(indexes)


def unpack_spans(packed: tuple[int, ...]) -> list[Sequence[int]]:
    """The reverse of pack_indexes(): each span by itself; a single tuple if they were sent one by one."""
    if len(packed) > 1 and packed[1] < 0:
        return [range(first, first - minus) for first, minus in zip(packed[::2], packed[1::2], strict=True)]
    return [packed] if packed else []


def unpack_indexes(packed: tuple[int, ...]) -> Sequence[int]:
    """The reverse of pack_indexes(): all of them, as a range if they are one span."""
    spans = unpack_spans(packed)
    return spans[0] if len(spans) == 1 else tuple(itertools.chain.from_iterable(spans))


def encode_program(program: TaskRun) -> bytes:
    """Raises TaskError if the options are not plain values."""
    try:
        return encode(("program", program.run, _plain(program.spec), program.output, program.separator))
    except ValueError as error:
        raise TaskError(
            f"the options of run {program.run!r} hold something that is not JSON ({error}); "
            "use text, numbers, booleans, None, and lists and dicts of these"
        ) from error


def _plain(spec: TaskSpec) -> dict[str, Any]:
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


class Channel:
    """The worker's end. A child that is stopped, or dies in the middle of a message, cannot block the worker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.descriptor = connection.fileno()
        os.set_blocking(self.descriptor, False)
        self._unsent: deque[memoryview] = deque()
        self._start = self._end = 0
        self._needed = 0
        self._view = memoryview(bytearray(_READ_BYTES))

    @property
    def sending(self) -> bool:
        """Whether messages are unsent; call flush() when the pipe takes more."""
        return bool(self._unsent)

    def send(self, frame: bytes) -> None:
        """Queue a message and send as much as the pipe takes now."""
        size = len(frame)
        head = _SIZE.pack(size) if size <= 0x7FFFFFFF else _LARGE_SIZE.pack(-1, size)
        self._unsent.append(memoryview(head + frame if size < _READ_BYTES else head))
        if size >= _READ_BYTES:
            self._unsent.append(memoryview(frame))
        self.flush()

    def flush(self) -> None:
        """Send what the pipe takes. A child that is gone takes nothing; its end is noticed elsewhere."""
        try:
            while self._unsent:
                written = os.write(self.descriptor, self._unsent[0])
                if written < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][written:]
                    return
                self._unsent.popleft()
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()

    def receive(self) -> list[Message]:
        """Read once; return the messages that are complete. Raises EOFError at the pipe's end."""
        return self._whole_messages() if self._fill() else []

    def drain(self) -> list[Message]:
        """Return every complete message that a dead child has left in the pipe."""
        messages: list[Message] = []
        try:
            while self._fill():
                messages += self._whole_messages()
        except (EOFError, ValueError, TypeError):
            pass  # the rest was cut off by the child's death, or is not a message
        return messages

    def close(self) -> None:
        self._view.release()
        self._connection.close()

    def _fill(self) -> bool:
        """Read once into the buffer; False if there is nothing to read now."""
        self._make_room()
        try:
            count = os.readv(self.descriptor, [self._view[self._end :]])
        except BlockingIOError:
            return False
        except ConnectionResetError as error:
            raise EOFError from error
        if count == 0:
            raise EOFError
        self._end += count
        return True

    def _whole_messages(self) -> list[Message]:
        messages = []
        while self._end - self._start >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._view, self._start)
            head = _SIZE.size
            if size == -1:
                head = _LARGE_SIZE.size
                if self._end - self._start < head:
                    break
                _, size = _LARGE_SIZE.unpack_from(self._view, self._start)
            self._check(self._start + head)
            if self._end - self._start < head + size:
                self._needed = head + size
                break
            body = self._start + head
            messages.append(decode(self._view[body : body + size]))
            self._start = body + size
        return messages

    def _check(self, body: int) -> None:
        """Raise ValueError for what cannot be a message: a task may have written into the pipe.

        Otherwise the worker would wait for as many bytes as the text happens to encode.
        """
        if self._end - body >= _OPENING.size:
            kind, count = _OPENING.unpack_from(self._view, body)
            if kind != _TUPLE or not 0 < count <= _MOST_PARTS:
                raise ValueError("the pipe's content is not a message")

    def _make_room(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._view) > _READ_BYTES and self._needed == 0:
                self._resize(_READ_BYTES)
        if self._end == len(self._view) or self._needed > len(self._view) - self._start:
            self._resize(max(_READ_BYTES, self._needed))
        self._needed = 0

    def _resize(self, size: int) -> None:
        """Move the undecoded rest to the start of a buffer of this size, or of a larger one if it does not fit."""
        rest = b"" if self._start == self._end else bytes(self._view[self._start : self._end])
        buffer = bytearray(max(size, len(rest) + _SIZE.size))
        buffer[: len(rest)] = rest
        self._view = memoryview(buffer)
        self._start, self._end = 0, len(rest)
