"""Lock, RLock, Semaphore, BoundedSemaphore: as in `multiprocessing`, but a holder that dies does not block others."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, ClassVar

from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject
from sheaf.multiprocessing.steps import Client

logger = logging.getLogger(__name__)

#: What the standard's semaphores count up to.
SEM_VALUE_MAX = 2**31 - 1


class LockBase(SharedObject):
    """What can be acquired and released."""

    suffixes = (":h", ":w")
    #: What the standard raises for a release too many.
    _not_held: ClassVar[tuple[type[Exception], str]] = (ValueError, "semaphore or lock released too many times")

    #: Whether the process that had it before this one ended without releasing it; of the last time it was acquired.
    owner_died = False

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """True if it was acquired. A timeout below 0 is one of 0."""
        return self._acquire(0.0 if not block else timeout)

    def release(self) -> None:
        """May be called by another process than acquired it, except for an RLock."""
        if self._member.steps("mp_lock", [self._key], ["release", self._member.owner]) == b"!":
            error, text = self._not_held
            raise error(text)

    def locked(self) -> bool:
        """Whether it is acquired, as often as it can be."""
        return self._look()[0] == 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire(self, timeout: float | None, times: int = 1) -> bool:
        owner = self._member.owner

        def attempt(client: Client, mode: Mode) -> bytes | None:
            answer: bytes = client("mp_lock", [self._key], ["acquire", owner, mode, times])
            return None if answer == b"-" else answer

        def give_up(client: Client) -> None:
            # (The request may have acquired it before its answer was cut off.)
            client("mp_lock", [self._key], ["give_up", owner, client.request])

        answer = self._member.until(attempt, [self._key + ":w"], timeout, give_up=give_up)
        if answer is None:
            return False
        self.owner_died = answer[:2] == b"+d"
        if self.owner_died:
            logger.warning(
                "acquired a %s that a process had when it ended: what it protects may be half done",
                type(self).__name__,
                extra={"action": "take-over", "from": answer[2:].decode()},
            )
        return True

    def _look(self) -> tuple[int, str, int]:
        """Value, owner, how often the owner has acquired it."""
        value, owner, times = self._member.steps("mp_lock", [self._key], ["look"])
        return int(value), bytes(owner).decode(), int(times)

    def _owner_name(self) -> tuple[str, int]:
        value, owner, times = self._look()
        if not owner:
            return ("None", 0) if value else ("a process that has ended", 0)
        if owner == self._member.owner:
            return "this thread", times
        same = owner.partition("/")[0] == self._member.process
        return "SomeOtherThread" if same else "SomeOtherProcess", times


class Lock(LockBase):
    """Not reentrant, and not its acquirer's alone."""

    tag = "mp.Lock"

    def __init__(self, member: Member) -> None:
        self._make(member, kind="semaphore", value=1, initial=1, most=1)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self._owner_name()[0]})>"


class RLock(LockBase):
    """Its owner, a thread of a process, may acquire it again."""

    tag = "mp.RLock"
    _not_held: ClassVar[tuple[type[Exception], str]] = (
        AssertionError,
        "attempt to release recursive lock not owned by thread",
    )

    def __init__(self, member: Member) -> None:
        self._make(member, kind="rlock", value=1, initial=1, most=1)

    def __repr__(self) -> str:
        return "<{}({}, {})>".format(type(self).__name__, *self._owner_name())


class Semaphore(LockBase):
    """May be released more often than it was acquired."""

    tag = "mp.Semaphore"

    def __init__(self, member: Member, value: int = 1) -> None:
        self._make(member, **self._fields(_checked_value(value)))

    def get_value(self) -> int:
        return self._look()[0]

    def _fields(self, value: int) -> dict[str, Any]:
        return {"kind": "semaphore", "value": value, "initial": value, "most": SEM_VALUE_MAX}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


class BoundedSemaphore(Semaphore):
    """A release too many is an error."""

    tag = "mp.BoundedSemaphore"

    def _fields(self, value: int) -> dict[str, Any]:
        return {"kind": "semaphore", "value": value, "initial": value, "most": value}


def _checked_value(value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"an integer is required (got type {type(value).__name__})")
    if not 0 <= value <= SEM_VALUE_MAX:
        raise ValueError("semaphore initial value must be between 0 and 2**31 - 1")
    return int(value)


class Guarded:
    """What is acquired and released as its lock is."""

    _lock: LockBase

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        return self._lock.acquire(block, timeout)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)
