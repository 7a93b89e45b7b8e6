"""Namespace, Value and Array of a manager: names, one value, numbers."""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

from sheaf.core.errors import ValueUnreadable
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects.base import checked_name
from sheaf.multiprocessing.objects.dict import _MISSING, DictBase
from sheaf.multiprocessing.objects.proxies import Proxy


class NamespaceProxy(DictBase):
    """Attributes that are shared, except for those that begin with `_`."""

    tag = "mp.Namespace"
    typeid = "Namespace"

    def __getattr__(self, name: str) -> Any:
        value = _MISSING if name.startswith("_") else self._get(name)
        if value is _MISSING:
            raise AttributeError(f"'Namespace' object has no attribute {name!r}")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._set("set", *self._entry(name, value))

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            object.__delattr__(self, name)
        elif self._look("pop", self._field(name)) == b"-":
            raise AttributeError(f"'Namespace' object has no attribute {name!r}")

    def __str__(self) -> str:
        pairs = sorted(f"{name}={value!r}" for name, value in self._getvalue().items())
        return f"Namespace({', '.join(pairs)})"


class ValueProxy(DictBase):
    """One value of any kind, without a lock."""

    tag = "mp.ManagedValue"
    typeid = "Value"

    _typecode: Any

    @classmethod
    def holding(cls, member: Member, typecode: Any, value: Any) -> ValueProxy:
        made = cls.of(member, {"value": value})
        made._typecode = typecode
        return made

    def get(self) -> Any:
        return self._get("value")

    def set(self, value: Any) -> None:
        self._set("set", *self._entry("value", value))

    value = property(get, set)

    def reference(self) -> Any:
        return [self._id, str(self._typecode)]

    @classmethod
    def from_reference(cls, member: Member, reference: Any) -> ValueProxy:
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference, 2))
        made._typecode = reference[1]
        return made

    def __str__(self) -> str:
        return f"Value({self._typecode!r}, {self.get()!r})"


class ArrayProxy(Proxy):
    """Numbers of one type, as `array.array` holds them."""

    tag = "mp.ManagedArray"
    typeid = "Array"
    suffixes = (":m",)

    _typecode: str
    _length: int

    @classmethod
    def holding(cls, member: Member, typecode: str, sequence: Iterable[Any]) -> ArrayProxy:
        content = array.array(typecode, sequence)
        made = cls.__new__(cls)
        made._typecode, made._length = typecode, len(content)
        made._make(member, kind="memory")
        made._write(0, content)
        return made

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._getvalue()[index]
        place = self._place(index)
        return self._read(place, 1)[0]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            content = self._getvalue()
            content[index] = value if isinstance(value, array.array) else array.array(self._typecode, value)
            if len(content) != self._length:
                raise ValueError("the length of a shared array stays as it is")
            self._write(0, content)
        else:
            self._write(self._place(index), array.array(self._typecode, [value]))

    def __iter__(self) -> Any:
        return iter(self._getvalue())

    def reference(self) -> Any:
        return [self._id, self._typecode, self._length]

    @classmethod
    def from_reference(cls, member: Member, reference: Any) -> ArrayProxy:
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference, 3))
        made._typecode, made._length = reference[1:]
        if made._typecode not in array.typecodes or type(made._length) is not int:
            raise ValueUnreadable("the message is damaged: no array")
        return made

    def _getvalue(self) -> array.array[Any]:
        return self._read(0, self._length)

    def _place(self, index: Any) -> int:
        try:
            return int(range(self._length)[index])
        except IndexError:
            raise IndexError("array index out of range") from None

    def _read(self, place: int, length: int) -> array.array[Any]:
        content: array.array[Any] = array.array(self._typecode)
        if length:
            size = content.itemsize
            answer: bytes = self._step(place * size, length * size)
            content.frombytes(answer[1:])
        return content

    def _write(self, place: int, content: array.array[Any]) -> None:
        if content:
            self._step(place * content.itemsize, 0, content.tobytes())

    def _step(self, *arguments: int | bytes) -> bytes:
        answer: bytes = self._member.steps("mp_memory", [self._key], [self._member.owner, "try", *arguments])
        return answer
