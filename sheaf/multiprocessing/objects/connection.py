"""Pipe, Connection and `wait`: as in `multiprocessing`, through Redis.

A pipe has two ends. Each is open for the processes that have it, as a file descriptor would be: for that which made the
pipe until it closes it, and for those that it was sent to. When no process has the other end open, `recv` raises
EOFError after the last message and `send` raises BrokenPipeError.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from multiprocessing import BufferTooShort
from types import TracebackType
from typing import Any, Protocol

from sheaf.broker import keys
from sheaf.core.errors import NotShareable, ValueUnreadable
from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject, is_name
from sheaf.multiprocessing.steps import Client

_SUFFIXES = (":v", ":h", ":w")


def Pipe(member: Member, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802  the standard's name
    """Both ends; of one that is not duplex, the first only receives and the second only sends."""
    name = member.new_object()
    key = member.key(keys.MP_OBJECT + name)
    suffixes = [f".{number}{suffix}" for number in (0, 1) for suffix in _SUFFIXES]
    member.steps("mp_make", (), [key, len(suffixes), *suffixes, "kind", "pipe"])
    ends = tuple(Connection.__new__(Connection) for _ in (0, 1))
    for number, end in enumerate(ends):
        end._open(member, name, number, duplex or number == 0, duplex or number == 1)
        member.steps("mp_receive", (), ["hold", end._end, member.process])
    return ends[0], ends[1]


class Waitable(Protocol):
    """What `wait` can wait for."""

    @property
    def wake_key(self) -> str:
        """The key of which a wakeup tells that it may be ready."""

    def is_ready(self, client: Client, mode: Mode) -> bool: ...


class Connection(SharedObject):
    """One end of a pipe. Made by `Pipe()`."""

    tag = "mp.Connection"

    _closed = True
    _number: int
    _readable: bool
    _writable: bool
    _end: str

    def __init__(self) -> None:
        raise TypeError("Connections are made by Pipe(); those of sockets are multiprocessing.connection's")

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def readable(self) -> bool:
        return self._readable

    @property
    def writable(self) -> bool:
        return self._writable

    def fileno(self) -> int:
        self._check_open()
        raise io.UnsupportedOperation(
            "a Connection across machines is no file descriptor: use its poll(), or multiprocessing.connection.wait()"
        )

    def send(self, obj: Any) -> None:
        """Raises BrokenPipeError if no process has the other end open."""
        self._check_writable()
        packed = self._member.pack(obj)
        try:
            self._send(packed.data)
        except BaseException:
            packed.undo()
            raise

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        self._check_writable()
        self._send(bytes(_part(memoryview(buf), offset, size)))

    def recv(self) -> Any:
        """Raises EOFError after the last message if no process has the other end open."""
        self._check_readable()
        return self._member.unpack(self._receive())

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        self._check_readable()
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        message = self._receive()
        if maxlength is not None and len(message) > maxlength:
            # As in the standard: it cannot be received from any more.
            if self._writable:
                self._readable = False
            else:
                self.close()
            raise OSError("bad message length")
        return message

    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int:
        """How many bytes were received. Raises BufferTooShort, which has the message."""
        self._check_readable()
        with memoryview(buf) as view, view.cast("B") as room:
            if offset < 0:
                raise ValueError("negative offset")
            if offset > room.nbytes:
                raise ValueError("offset too large")
            message = self._receive()
            if room.nbytes < offset + len(message):
                raise BufferTooShort(message)
            room[offset : offset + len(message)] = message
            return len(message)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether there is something to receive: a message, or the end."""
        self._check_readable()

        def attempt(client: Client, mode: Mode) -> bool | None:
            return self.is_ready(client, mode) or None

        return self._member.until(attempt, [self.wake_key], timeout) is not None

    def close(self) -> None:
        """This process does not use it any more. Closed twice, it stays closed."""
        if not self._closed:
            self._closed = True
            self._member.steps("mp_receive", (), ["drop", self._end, self._member.process])

    @property
    def wake_key(self) -> str:
        return self._end + ":w"

    def is_ready(self, client: Client, mode: Mode) -> bool:
        """For `wait`."""
        self._check_readable()
        return bool(client("mp_receive", (), ["poll", self._end, mode]) == b"+")

    def reference(self) -> Any:
        self._check_open()
        holder = self._member.transit.holder(self, self._end)
        on_its_way = holder if holder.startswith("~") else ""
        return [self._id, self._number, self._readable, self._writable, on_its_way]

    @classmethod
    def from_reference(cls, member: Member, reference: Any) -> Connection:
        if type(reference) is not list or [type(part) for part in reference] != [str, int, bool, bool, str]:
            raise ValueUnreadable("the message is damaged: no end of a pipe")
        name, number, readable, writable, on_its_way = reference
        if not is_name(name) or number not in (0, 1):
            raise ValueUnreadable("the message is damaged: no end of a pipe")
        made = cls.__new__(cls)
        made._open(member, name, number, readable, writable)
        # One that was sent to this very process is open for it since then.
        if on_its_way:
            member.steps("mp_receive", (), ["land", made._end, on_its_way])
        return made

    def delete(self) -> None:
        raise NotShareable("an end of a pipe has no delete(): it goes when every process has closed it; use close()")

    def _open(self, member: Member, name: str, number: int, readable: bool, writable: bool) -> None:
        self._attach(member, name)
        self._number, self._readable, self._writable = number, readable, writable
        self._end = f"{self._key}.{number}"
        self._closed = False
        member.closing.start()

    def _send(self, data: bytes) -> None:
        with self._member.stored(data) as entry:
            if self._member.steps("mp_send", (), [self._end, entry]) == b"!":
                raise BrokenPipeError("no process has the other end of this pipe open: they have closed it, or ended")

    def _receive(self) -> bytes:
        def attempt(client: Client, mode: Mode) -> bytes | None:
            answer: bytes = client("mp_receive", (), ["take", self._end, mode])
            return None if answer == b"-" else answer

        def give_up(client: Client) -> None:
            client("mp_receive", (), ["leave", self._end, client.request])

        answer = self._member.until(attempt, [self.wake_key], None, give_up=give_up)
        if answer == b"!":
            raise EOFError("no process has the other end of this pipe open: no message can come any more")
        return self._member.fetched(answer[1:])

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("handle is closed")

    def _check_readable(self) -> None:
        self._check_open()
        if not self._readable:
            raise OSError("connection is write-only")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise OSError("connection is read-only")

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Not here: the garbage collector may come by in the middle of a step.
        if not self._closed:
            self._closed = True
            steps, end, process = self._member.steps, self._end, self._member.process
            self._member.closing.later(lambda: steps("mp_receive", (), ["drop", end, process]))


def wait(object_list: Sequence[Waitable], timeout: float | None = None) -> list[Any]:
    """Those of the connections (and what else can be waited for) that are ready, at the latest after the timeout."""
    found = list(object_list)
    for waitable in found:
        if not hasattr(waitable, "is_ready"):
            raise TypeError(
                f"a {type(waitable).__name__} cannot be waited for here: only ends of pipes and sentinels of "
                "processes can; wait for files and sockets with the standard library's selectors"
            )
    if not found:
        # As in the standard: nothing becomes ready, and without a timeout that takes for ever.
        time.sleep(max(0.0, timeout)) if timeout is not None else _for_ever()
        return []
    member: Member = found[0]._member  # type: ignore[attr-defined]

    def attempt(client: Client, mode: Mode) -> list[Any] | None:
        return [waitable for waitable in found if waitable.is_ready(client, mode)] or None

    return member.until(attempt, [waitable.wake_key for waitable in found], timeout) or []


def _for_ever() -> None:
    while True:
        time.sleep(3600)


def _part(view: memoryview, offset: int, size: int | None) -> memoryview:
    view = view.cast("B")
    if offset < 0:
        raise ValueError("offset is negative")
    if view.nbytes < offset:
        raise ValueError("buffer length < offset")
    if size is None:
        size = view.nbytes - offset
    elif size < 0:
        raise ValueError("size is negative")
    elif offset + size > view.nbytes:
        raise ValueError("buffer length < offset + size")
    return view[offset : offset + size]
