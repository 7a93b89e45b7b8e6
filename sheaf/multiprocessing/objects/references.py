"""How shared objects travel inside values: as references, which `sheaf.values` puts in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sheaf.core.errors import ValueUnreadable
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects import (
    barrier,
    condition,
    connection,
    event,
    locks,
    managed,
    memory,
    namespace,
    queues,
)
from sheaf.multiprocessing.objects.base import SharedObject
from sheaf.multiprocessing.objects.dict import DictProxy
from sheaf.multiprocessing.objects.list import ListProxy
from sheaf.values import Codec, Modules, Reference, Resolver

#: Every class of which objects travel.
KINDS: tuple[type[SharedObject], ...] = (
    *(locks.Lock, locks.RLock, locks.Semaphore, locks.BoundedSemaphore),
    *(event.Event, condition.Condition, barrier.Barrier),
    *(queues.Queue, queues.JoinableQueue, queues.SimpleQueue, connection.Connection),
    *(memory.RawValue, memory.RawStructure, memory.RawArray),
    *(memory.Synchronized, memory.SynchronizedStructure, memory.SynchronizedArray),
    *(DictProxy, ListProxy, namespace.NamespaceProxy, namespace.ValueProxy, namespace.ArrayProxy),
    *(managed.LockProxy, managed.RLockProxy, managed.SemaphoreProxy, managed.BoundedSemaphoreProxy),
    *(managed.ConditionProxy, managed.EventProxy, managed.BarrierProxy, managed.QueueProxy),
)


def references(member: Member) -> list[Reference]:
    """For the codec of this process."""
    return [Reference(kind.tag, kind, _describe, _rebuild(member, kind)) for kind in KINDS]


def use_codec(member: Member, resolver: Resolver | None = None) -> Codec:
    """Have this process's values travel by a codec that knows the program's own classes; return it."""
    codec = Codec(resolver or Modules({}), references(member))
    member.use(codec.encode, codec.decode)
    return codec


def _describe(shared: Any) -> Any:
    return shared.reference()


def _rebuild(member: Member, kind: type[SharedObject]) -> Callable[[Any], Any]:
    def rebuild(described: Any) -> Any:
        try:
            return kind.from_reference(member, described)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            if isinstance(error, ValueUnreadable):
                raise
            raise ValueUnreadable(f"the message is damaged: no {kind.__name__} ({error})") from error

    return rebuild
