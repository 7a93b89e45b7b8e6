"""The list of a manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects.proxies import Proxy

T = TypeVar("T")

#: Values that are sent, and fetched while iterating, in one step.
_AT_ONCE = 1_000


class ListProxy(Proxy):
    """With the methods of `list`. Values are copies, unless they are shared themselves: `l[0].append(1)` is lost.

    Most methods are one step. Those that move values around (insert, remove, sort, slices …) replace the list by a
    changed one, unless another process has changed it meanwhile; then they begin again.
    """

    tag = "mp.list"
    typeid = "list"
    suffixes = (":v",)

    @classmethod
    def of(cls, member: Member, content: Iterable[Any]) -> ListProxy:
        made = cls.__new__(cls)
        made._make(member, kind="list", version=0)
        made.extend(content)
        return made

    def append(self, value: Any) -> None:
        self._append([self._packed(value)])

    def extend(self, values: Iterable[Any]) -> None:
        self._append([self._packed(value) for value in list(values)])

    def insert(self, index: int, value: Any) -> None:
        data = self._packed(value)
        self._change(lambda found: found.insert(index, data))

    def pop(self, index: int = -1) -> Any:
        if index not in (0, -1):
            return self._member.unpack(self._change(lambda found: found.pop(index)))
        answer: bytes = self._look("pop", index)
        if answer == b"-":
            raise IndexError("pop from empty list")
        return self._member.unpack(answer[1:])

    def remove(self, value: Any) -> None:
        def act(found: list[bytes]) -> None:
            for place, data in enumerate(found):
                if self._member.unpack(data) == value:
                    del found[place]
                    return
            raise ValueError("list.remove(x): x not in list")

        self._change(act)

    def reverse(self) -> None:
        self._change(lambda found: found.reverse())

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        def act(found: list[bytes]) -> None:
            pairs = [(self._member.unpack(data), data) for data in found]
            pairs.sort(key=lambda pair: pair[0] if key is None else key(pair[0]), reverse=reverse)
            found[:] = [data for _, data in pairs]

        self._change(act)

    def count(self, value: Any) -> int:
        return self._getvalue().count(value)

    def index(self, value: Any, *between: int) -> int:
        return self._getvalue().index(value, *between)

    def __len__(self) -> int:
        return int(self._look("size"))

    def __contains__(self, value: Any) -> bool:
        return value in self._getvalue()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._member.unpack(data) for data in self._all()[1][index]]
        answer: bytes = self._look("get", _whole(index))
        if answer == b"-":
            raise IndexError("list index out of range")
        return self._member.unpack(answer[1:])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            data = [self._packed(one) for one in list(value)]
            self._change(lambda found: found.__setitem__(index, data))
        elif self._set("set", _whole(index), self._packed(value)) == b"!":
            raise IndexError("list assignment index out of range")

    def __delitem__(self, index: Any) -> None:
        self._change(lambda found: found.__delitem__(index))

    def __iter__(self) -> Iterator[Any]:
        """By index, as in the standard: what is put in meanwhile comes, too."""
        place = 0
        while found := self._look("range", place, place + _AT_ONCE - 1):
            place += len(found)
            yield from map(self._member.unpack, found)

    def __reversed__(self) -> Iterator[Any]:
        yield from reversed(self._getvalue())

    def __add__(self, other: Any) -> list[Any]:
        return [*self._getvalue(), *_plain(other)]

    def __iadd__(self, other: Iterable[Any]) -> ListProxy:  # type: ignore[misc]
        self.extend(other)
        return self

    def __mul__(self, times: int) -> list[Any]:
        return self._getvalue() * times

    def __rmul__(self, times: int) -> list[Any]:
        return self._getvalue() * times

    def __imul__(self, times: int) -> ListProxy:
        def act(found: list[bytes]) -> None:
            found *= times

        self._change(act)
        return self

    def _getvalue(self) -> list[Any]:
        return [self._member.unpack(data) for data in self._all()[1]]

    def _packed(self, value: Any) -> bytes:
        return self._member.pack(value).data

    def _append(self, data: list[bytes]) -> None:
        for first in range(0, len(data), _AT_ONCE):
            self._set("append", *data[first : first + _AT_ONCE])

    def _all(self) -> tuple[bytes, list[bytes]]:
        """Which version it is, and all values, as they are sent."""
        version, *values = self._look("all")
        return version, values

    def _change(self, act: Callable[[list[bytes]], T]) -> T:
        """Replace all by what `act` makes of it."""
        while True:
            version, values = self._all()
            result = act(values)
            if self._set("replace", version, *values) == b"+":
                return result

    def _look(self, what: str, *arguments: int) -> Any:
        return self._member.steps("mp_list_take", [self._key], [what, *arguments])

    def _set(self, what: str, *arguments: int | bytes) -> bytes:
        answer: bytes = self._member.steps("mp_list_set", [self._key], [what, *arguments])
        return answer


def _whole(index: Any) -> int:
    if not hasattr(index, "__index__"):
        raise TypeError(f"list indices must be integers or slices, not {type(index).__name__}")
    return int(index.__index__())


def _plain(other: Any) -> Any:
    return other._getvalue() if isinstance(other, ListProxy) else other
