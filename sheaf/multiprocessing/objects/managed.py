"""The locks, events and queues of a manager: the same as without one, with the errors and names of `threading`."""

from __future__ import annotations

from typing import Any, ClassVar

from sheaf.multiprocessing.objects.barrier import Barrier
from sheaf.multiprocessing.objects.condition import Condition
from sheaf.multiprocessing.objects.event import Event
from sheaf.multiprocessing.objects.locks import BoundedSemaphore, Lock, LockBase, RLock, Semaphore
from sheaf.multiprocessing.objects.proxies import described
from sheaf.multiprocessing.objects.queues import JoinableQueue


class AcquirerProxy(LockBase):
    """Acquired with the arguments of `threading.Lock`."""

    typeid: ClassVar[str]

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """A timeout of -1 is none, as for `threading.Lock`."""
        if timeout is not None and not blocking:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return self._acquire(0.0 if not blocking else None if timeout == -1 else timeout)

    def __str__(self) -> str:
        return LockBase.__repr__(self)

    def __repr__(self) -> str:
        return described(self)


class LockProxy(AcquirerProxy, Lock):
    tag = "mp.managed.Lock"
    typeid: ClassVar[str] = "Lock"
    _not_held = (RuntimeError, "release unlocked lock")


class RLockProxy(AcquirerProxy, RLock):
    tag = "mp.managed.RLock"
    typeid: ClassVar[str] = "RLock"
    _not_held = (RuntimeError, "cannot release un-acquired lock")


class SemaphoreProxy(AcquirerProxy, Semaphore):
    tag = "mp.managed.Semaphore"
    typeid: ClassVar[str] = "Semaphore"


class BoundedSemaphoreProxy(AcquirerProxy, BoundedSemaphore):
    tag = "mp.managed.BoundedSemaphore"
    typeid: ClassVar[str] = "BoundedSemaphore"
    _not_held = (ValueError, "Semaphore released too many times")


class ConditionProxy(Condition):
    tag = "mp.managed.Condition"
    typeid: ClassVar[str] = "Condition"
    _not_owned = (RuntimeError, "cannot wait on un-acquired lock", "cannot notify on un-acquired lock")

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return self._lock.acquire(blocking, timeout)

    def __repr__(self) -> str:
        return described(self)


class EventProxy(Event):
    tag = "mp.managed.Event"
    typeid: ClassVar[str] = "Event"

    def __repr__(self) -> str:
        return described(self)


class BarrierProxy(Barrier):
    tag = "mp.managed.Barrier"
    typeid: ClassVar[str] = "Barrier"

    def __repr__(self) -> str:
        return described(self)


class QueueProxy(JoinableQueue):
    """With the methods of `queue.Queue`."""

    tag = "mp.managed.Queue"
    typeid: ClassVar[str] = "Queue"

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        _check(timeout)
        return super().get(block, timeout)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        _check(timeout)
        super().put(item, block, timeout)

    def __repr__(self) -> str:
        return described(self)


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
