"""Manager(): makes what is shared by proxies. There is no server process: what they hold is in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from sheaf.core.errors import NotShareable
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects import managed
from sheaf.multiprocessing.objects.base import SharedObject
from sheaf.multiprocessing.objects.dict import DictProxy
from sheaf.multiprocessing.objects.list import ListProxy
from sheaf.multiprocessing.objects.locks import LockBase
from sheaf.multiprocessing.objects.namespace import ArrayProxy, NamespaceProxy, ValueProxy

S = TypeVar("S", bound=SharedObject)


class SyncManager:
    """What it has made is removed when it is shut down."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._made: list[tuple[str, tuple[str, ...]]] = []
        self._running = True

    def start(self, *_: object, **__: object) -> None:
        """It runs already."""

    def shutdown(self) -> None:
        """Remove what it has made: using it then is an error."""
        self._running = False
        made, self._made = self._made, []
        for key, suffixes in made:
            self._member.steps("mp_delete", (), [key, *(key + suffix for suffix in suffixes)])

    def __enter__(self) -> SyncManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def dict(self, *content: Any, **named: Any) -> DictProxy:
        if content and isinstance(content[0], DictProxy):
            content = (content[0].copy(), *content[1:])
        plain: Any = {}
        plain.update(*content, **named)
        return self._make(lambda: DictProxy.of(self._member, plain))

    def list(self, content: Iterable[Any] = (), /) -> ListProxy:
        return self._make(lambda: ListProxy.of(self._member, content))

    def Namespace(self, **named: Any) -> NamespaceProxy:  # noqa: N802  the standard's names, from here on
        return self._make(lambda: NamespaceProxy.of(self._member, named))

    def Value(self, typecode: Any, value: Any, lock: bool = True) -> ValueProxy:  # noqa: N802, ARG002
        return self._make(lambda: ValueProxy.holding(self._member, typecode, value))

    def Array(self, typecode: str, sequence: Iterable[Any], lock: bool = True) -> ArrayProxy:  # noqa: N802, ARG002
        return self._make(lambda: ArrayProxy.holding(self._member, typecode, sequence))

    def Queue(self, maxsize: int = 0) -> managed.QueueProxy:  # noqa: N802
        return self._make(lambda: managed.QueueProxy(self._member, maxsize))

    def JoinableQueue(self, maxsize: int = 0) -> managed.QueueProxy:  # noqa: N802
        return self.Queue(maxsize)

    def Lock(self) -> managed.LockProxy:  # noqa: N802
        return self._make(lambda: managed.LockProxy(self._member))

    def RLock(self) -> managed.RLockProxy:  # noqa: N802
        return self._make(lambda: managed.RLockProxy(self._member))

    def Semaphore(self, value: int = 1) -> managed.SemaphoreProxy:  # noqa: N802
        return self._make(lambda: managed.SemaphoreProxy(self._member, value))

    def BoundedSemaphore(self, value: int = 1) -> managed.BoundedSemaphoreProxy:  # noqa: N802
        return self._make(lambda: managed.BoundedSemaphoreProxy(self._member, value))

    def Condition(self, lock: LockBase | None = None) -> managed.ConditionProxy:  # noqa: N802
        return self._make(lambda: managed.ConditionProxy(self._member, lock or managed.RLockProxy(self._member)))

    def Event(self) -> managed.EventProxy:  # noqa: N802
        return self._make(lambda: managed.EventProxy(self._member))

    def Barrier(  # noqa: N802
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> managed.BarrierProxy:
        return self._make(lambda: managed.BarrierProxy(self._member, parties, action, timeout))

    @classmethod
    def register(cls, typeid: str, *_: object, **__: object) -> NoReturn:
        raise NotShareable(
            f"{typeid!r} cannot be registered: there is no server process that would hold the object. Keep its state "
            "in the manager's dict, list or Namespace, or give a Process the object and talk to it through a Queue"
        )

    def _make(self, factory: Callable[[], S]) -> S:
        if not self._running:
            raise NotShareable("this manager was shut down, and what it had made is gone; make another one")
        made = factory()
        self._made.append((made._key, made.suffixes))
        return made
