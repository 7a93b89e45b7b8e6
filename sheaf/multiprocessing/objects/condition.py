"""Condition: as in `multiprocessing`, but a process that died while waiting is neither notified nor waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from sheaf.core.errors import ValueUnreadable
from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject, checked_name
from sheaf.multiprocessing.objects.locks import Guarded, LockBase, RLock
from sheaf.multiprocessing.steps import Client

T = TypeVar("T")
#: More than can wait.
_ALL = 2**31


class Condition(Guarded, SharedObject):
    """A lock, and those who wait to be notified under it."""

    tag = "mp.Condition"
    suffixes = (":t", ":n")
    #: What the standard raises if the lock is not held, for waiting and for notifying.
    _not_owned: ClassVar[tuple[type[Exception], str, str]] = (
        AssertionError,
        "must acquire() condition before using wait()",
        "lock is not owned",
    )

    _lock: LockBase

    def __init__(self, member: Member, lock: LockBase | None = None) -> None:
        if lock is not None and not isinstance(lock, LockBase):
            raise TypeError(f"a Condition takes a lock of this module, not a {type(lock).__name__}")
        self._lock = lock if lock is not None else RLock(member)
        self._make(member, kind="condition")

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, and acquire it again. Whether that was in time."""
        ticket, times = self._leave_ticket()

        def attempt(client: Client, mode: Mode) -> bool | None:
            answer = client("mp_condition", self._keys, ["check", ticket, mode])
            return True if answer == b"+" else None

        def give_up(client: Client) -> None:
            client("mp_condition", self._keys, ["check", ticket, Mode.LAST])

        try:
            notified = self._member.until(attempt, [self._key], timeout, give_up=give_up)
            if notified is None:
                # With no time at all it was only tried.
                notified = self._member.until(lambda client, _: attempt(client, Mode.LAST), (), 0)
            return notified is not None
        finally:
            self._lock._acquire(None, times)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until the predicate holds; return what it gave last."""
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        if self._member.steps("mp_condition", self._keys, ["notify", self._member.owner, min(n, _ALL)]) == b"!":
            error, _, text = self._not_owned
            raise error(text)

    def notify_all(self) -> None:
        self.notify(_ALL)

    def reference(self) -> Any:
        return [self._id, self._lock]

    @classmethod
    def from_reference(cls, member: Member, reference: Any) -> Condition:
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference, 2))
        if not isinstance(reference[1], LockBase):
            raise ValueUnreadable("the message is damaged: a condition without a lock")
        made._lock = reference[1]
        return made

    @property
    def _keys(self) -> list[str]:
        return [self._key, self._lock._key]

    def _leave_ticket(self) -> tuple[str, int]:
        """The ticket, and how often the lock was acquired."""
        with self._member.steps.client() as client:
            answer: bytes = client("mp_condition", self._keys, ["wait", self._member.owner])
            ticket = f"{client.name}#{client.request}"
        if answer == b"!":
            error, text, _ = self._not_owned
            raise error(text)
        return ticket, int(answer[1:])

    def __repr__(self) -> str:
        waiting = self._member.steps("mp_condition", self._keys, ["count"])
        return f"<{type(self).__name__}({self._lock!r}, {waiting})>"
