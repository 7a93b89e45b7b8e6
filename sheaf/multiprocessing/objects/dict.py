"""The dict of a manager."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, TypeVar

from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects.dict_keys import field_of, is_reversible, key_of
from sheaf.multiprocessing.objects.proxies import Proxy

P = TypeVar("P", bound="DictBase")
_KEY_BYTES = struct.Struct("<I")
_MISSING: Any = object()
#: Entries that are sent in one step. (A step of a million would hold up all others.)
_AT_ONCE = 2_000


class DictBase(Proxy):
    """Keys and values in Redis. What is read is a copy; each change is one step."""

    suffixes = (":f", ":o")

    @classmethod
    def of(cls: type[P], member: Member, content: dict[Any, Any]) -> P:
        made = cls.__new__(cls)
        made._make(member, kind="dict")
        made._set_all(content)
        return made

    def _set_all(self, content: dict[Any, Any]) -> None:
        parts = [part for key, value in content.items() for part in self._entry(key, value)]
        for first in range(0, len(parts), 2 * _AT_ONCE):
            self._set("set", *parts[first : first + 2 * _AT_ONCE])

    def _entry(self, key: Any, value: Any) -> tuple[bytes, bytes]:
        """A field, and what it holds: the key, if the field does not say it all, and the value."""
        pack = self._member.pack
        field = field_of(key, self._member.encode)
        whole_key = b"" if is_reversible(key) else pack(key).data
        return field, _KEY_BYTES.pack(len(whole_key)) + whole_key + pack(value).data

    def _key_in(self, field: bytes, entry: bytes) -> Any:
        (length,) = _KEY_BYTES.unpack_from(entry)
        return self._member.unpack(entry[4 : 4 + length]) if length else key_of(field)

    def _value_in(self, entry: bytes) -> Any:
        (length,) = _KEY_BYTES.unpack_from(entry)
        return self._member.unpack(entry[4 + length :])

    def _field(self, key: Any) -> bytes:
        return field_of(key, self._member.encode)

    def _get(self, key: Any) -> Any:
        """The value, or _MISSING."""
        answer: bytes = self._look("get", self._field(key))
        return _MISSING if answer == b"-" else self._value_in(answer[1:])

    def _pop(self, key: Any) -> Any:
        answer: bytes = self._look("pop", self._field(key))
        return _MISSING if answer == b"-" else self._value_in(answer[1:])

    def _pairs(self) -> list[tuple[bytes, bytes]]:
        found: list[bytes] = self._look("entries")
        return list(zip(found[::2], found[1::2], strict=True))

    def _getvalue(self) -> dict[Any, Any]:
        return {self._key_in(field, entry): self._value_in(entry) for field, entry in self._pairs()}

    def _look(self, what: str, *arguments: bytes) -> Any:
        return self._member.steps("mp_dict_take", [self._key], [what, *arguments])

    def _set(self, what: str, *arguments: bytes) -> bytes:
        answer: bytes = self._member.steps("mp_dict_set", [self._key], [what, *arguments])
        return answer


class DictProxy(DictBase):
    """With the methods of `dict`. Values are copies, unless they are shared themselves: `d["a"].append(1)` is lost."""

    tag = "mp.dict"
    typeid = "dict"

    def __getitem__(self, key: Any) -> Any:
        value = self._get(key)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._set("set", *self._entry(key, value))

    def __delitem__(self, key: Any) -> None:
        if self._look("pop", self._field(key)) == b"-":
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        return bool(self._look("has", self._field(key)))

    def __len__(self) -> int:
        return int(self._look("size"))

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(len(self))

    def _iterate(self, length: int) -> Iterator[Any]:
        # The keys are asked for with the first of them, as in the standard.
        found = self.keys()
        if len(found) != length:
            raise RuntimeError("dictionary changed size during iteration")
        yield from found

    def __or__(self, other: Any) -> dict[Any, Any]:
        return {**self._getvalue(), **_plain(other)}

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return {**_plain(other), **self._getvalue()}

    def __ior__(self, other: Any) -> DictProxy:
        self.update(other)
        return self

    def get(self, key: Any, default: Any = None) -> Any:
        value = self._get(key)
        return default if value is _MISSING else value

    def keys(self) -> list[Any]:
        return [self._key_in(field, entry) for field, entry in self._pairs()]

    def values(self) -> list[Any]:
        return [self._value_in(entry) for _, entry in self._pairs()]

    def items(self) -> list[tuple[Any, Any]]:
        return [(self._key_in(field, entry), self._value_in(entry)) for field, entry in self._pairs()]

    def copy(self) -> dict[Any, Any]:
        return self._getvalue()

    def clear(self) -> None:
        self._look("clear")

    def pop(self, key: Any, *default: Any) -> Any:
        value = self._pop(key)
        if value is not _MISSING:
            return value
        if not default:
            raise KeyError(key)
        return default[0]

    def popitem(self) -> tuple[Any, Any]:
        """The pair that was put in last."""
        answer: bytes = self._look("popitem")
        if answer == b"-":
            raise KeyError("popitem(): dictionary is empty")
        length, _, rest = answer.partition(b":")
        field, entry = rest[: int(length)], rest[int(length) :]
        return self._key_in(field, entry), self._value_in(entry)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return self._value_in(self._set("default", *self._entry(key, default)))

    def update(self, other: Any = (), /, **named: Any) -> None:
        content: dict[Any, Any] = {}
        content.update(_plain(other), **named)
        self._set_all(content)


def _plain(other: Any) -> Any:
    return other._getvalue() if isinstance(other, DictBase) else other
