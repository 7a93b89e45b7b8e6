"""What the proxies of a manager have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from sheaf.multiprocessing.objects.base import SharedObject


class Proxy(SharedObject):
    """An object that is used through its methods only; `str` shows what it holds."""

    #: What the manager's method is called that makes it.
    typeid: ClassVar[str]

    def _getvalue(self) -> Any:
        """A copy of what it holds."""
        raise NotImplementedError

    def _callmethod(self, methodname: str, args: Sequence[Any] = (), kwds: Mapping[str, Any] | None = None) -> Any:
        """For programs that call methods by name, as one does with the standard's proxies."""
        return getattr(self, methodname)(*args, **(kwds or {}))

    def __deepcopy__(self, memo: Any) -> Any:
        return self._getvalue()

    def __str__(self) -> str:
        return repr(self._getvalue())

    def __repr__(self) -> str:
        return described(self)


class _Typed(Protocol):
    typeid: ClassVar[str]


def described(proxy: _Typed) -> str:
    return f"<{type(proxy).__name__} object, typeid {proxy.typeid!r} at {id(proxy):#x}>"
