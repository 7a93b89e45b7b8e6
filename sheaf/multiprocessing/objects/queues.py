"""Queue, SimpleQueue, JoinableQueue: as in `multiprocessing`, but `put` returns when the value is in Redis.

So a value that cannot be sent is an error of `put`, nothing is lost with the process that has put it, and a process can
be joined before what it has put is taken. A consumer that is killed takes with it only the value that it was given.
"""

from __future__ import annotations

import math
from queue import Empty, Full
from typing import Any

from sheaf.core.errors import ItemsAbandoned
from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject, checked_name, count
from sheaf.multiprocessing.steps import Client


class QueueBase(SharedObject):
    """First in, first out; each value is given to one consumer."""

    suffixes = (":v", ":w", ":p", ":h", ":j")

    _maxsize: int

    def _make_queue(self, member: Member, maxsize: int) -> None:
        self._maxsize = max(0, count(maxsize, "maxsize"))
        self._make(member, kind="queue", unfinished=0)

    def empty(self) -> bool:
        return self._size() == 0

    def reference(self) -> Any:
        return [self._id, self._maxsize]

    @classmethod
    def from_reference(cls, member: Member, reference: Any) -> QueueBase:
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference, 2))
        made._maxsize = count(reference[1], "maxsize")
        return made

    def _size(self) -> int:
        return int(self._member.steps("mp_take", [self._key], ["size"]))

    def _put(self, value: Any, timeout: float | None) -> bool:
        """False: there was no room in time."""
        packed = self._member.pack(value)

        def attempt(client: Client, mode: Mode) -> bool | None:
            return client("mp_put", [self._key], [entry, self._maxsize, mode]) == b"+" or None

        try:
            with self._member.stored(packed.data) as entry:
                if self._member.until(attempt, [self._key + ":p"], timeout, give_up=self._stop_waiting) is None:
                    raise Full
        except BaseException as error:
            packed.undo()
            if type(error) is Full:
                return False
            raise
        return True

    def _take(self, timeout: float | None) -> Any:
        """Raises Empty."""

        def attempt(client: Client, mode: Mode) -> bytes | None:
            answer: bytes = client("mp_take", [self._key], ["take", mode])
            return None if answer == b"-" else answer

        answer = self._member.until(attempt, [self._key + ":w"], timeout, give_up=self._stop_waiting)
        if answer is None:
            raise Empty
        return self._member.unpack(self._member.fetched(answer[1:]))

    def _task_done(self) -> None:
        if self._member.steps("mp_take", [self._key], ["done"]) == b"!":
            raise ValueError("task_done() called too many times")

    def _join(self) -> None:
        def attempt(client: Client, mode: Mode) -> bytes | None:
            answer: bytes = client("mp_take", [self._key], ["join", mode])
            return None if answer == b"-" else answer

        answer = self._member.until(attempt, [self._key + ":j"], None, give_up=self._stop_waiting)
        if answer[:1] == b"!":
            raise ItemsAbandoned(
                f"{int(answer[1:])} of the values that were taken out of {self!r} will not be done: the process that "
                "took them ended without task_done(). Put them again, or look at why it ended"
            )

    def _stop_waiting(self, client: Client) -> None:
        client("mp_take", [self._key], ["leave", client.request])


class Queue(QueueBase):
    """With the methods of `multiprocessing.Queue`."""

    tag = "mp.Queue"
    #: Closed in this process. (As in the standard, others may go on.)
    _closed = False

    def __init__(self, member: Member, maxsize: int = 0) -> None:
        self._make_queue(member, maxsize)

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Raises Full if there is no room in time, and ValueNotSendable for what cannot be sent."""
        self._check_open()
        if not self._put(obj, _seconds(block, timeout)):
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Raises Empty if nothing comes in time."""
        self._check_open()
        return self._take(_seconds(block, timeout))

    def put_nowait(self, obj: Any) -> None:
        self.put(obj, False)

    def get_nowait(self) -> Any:
        return self.get(False)

    def qsize(self) -> int:
        return self._size()

    def full(self) -> bool:
        return 0 < self._maxsize <= self._size()

    def close(self) -> None:
        """This process puts and gets no more."""
        self._closed = True

    def join_thread(self) -> None:
        """What was put is in Redis already: there is nothing to wait for."""
        if not self._closed:
            raise AssertionError(f"Queue {self!r} not closed")

    def cancel_join_thread(self) -> None:
        """There is nothing to wait for."""

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")


class JoinableQueue(Queue):
    """One that can be waited for until all that was put is done."""

    tag = "mp.JoinableQueue"

    def task_done(self) -> None:
        """Raises ValueError if called more often than something was put."""
        self._task_done()

    def join(self) -> None:
        """Wait until each value that was put is done.

        Raises ItemsAbandoned if those that are left were taken by processes that have ended.
        """
        self._join()


class SimpleQueue(QueueBase):
    """With the methods of `multiprocessing.SimpleQueue`."""

    tag = "mp.SimpleQueue"
    _closed = False

    def __init__(self, member: Member) -> None:
        self._make_queue(member, 0)

    def put(self, obj: Any) -> None:
        self._check_open()
        self._put(obj, None)

    def get(self) -> Any:
        self._check_open()
        return self._take(None)

    def empty(self) -> bool:
        self._check_open()
        return super().empty()

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("handle is closed")


def _seconds(block: bool, timeout: float | None) -> float | None:
    """For `until`: a timeout below 0 is one of 0, as in `multiprocessing`."""
    if not block:
        return 0.0
    if timeout is not None and math.isnan(timeout):
        raise ValueError("'timeout' must be a number of seconds")
    return timeout
