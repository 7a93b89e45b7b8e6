"""Value and Array, and RawValue and RawArray: as in `multiprocessing.sharedctypes`, as bytes in Redis.

Each access is one step, under the lock if there is one: it is done when the lock is free, or this thread's.
"""

from __future__ import annotations

import ctypes
from typing import Any, TypeVar

from sheaf.core.errors import NotShareable, ValueUnreadable
from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.base import SharedObject, checked_name
from sheaf.multiprocessing.objects.ctypes_names import described, of_description, type_for
from sheaf.multiprocessing.objects.locks import Guarded, LockBase, RLock
from sheaf.multiprocessing.steps import Client

_Simple: Any = ctypes.c_int.__mro__[1]
M = TypeVar("M", bound="Memory")


class Memory(SharedObject):
    """Bytes of a ctypes type, and perhaps a lock."""

    suffixes = (":m",)

    _lock: LockBase | None = None
    _type: Any

    @classmethod
    def of(cls: type[M], member: Member, content: Any, lock: LockBase | None = None) -> M:
        """Holding what a ctypes object holds."""
        made = cls.__new__(cls)
        made._type, made._lock = type(content), None
        made._make(member, kind="memory")
        if ctypes.sizeof(content):
            made._write([(0, bytes(content))])
        made._lock = lock
        return made

    def reference(self) -> Any:
        return [self._id, described(self._type), self._lock]

    @classmethod
    def from_reference(cls: type[M], member: Member, reference: Any) -> M:
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference, 3))
        made._type, made._lock = of_description(reference[1]), reference[2]
        if made._lock is not None and not isinstance(made._lock, LockBase):
            raise ValueUnreadable("the message is damaged: shared memory whose lock is none")
        return made

    def _read(self, offset: int, size: int) -> bytes:
        return self._step([offset, size])[1:] if size else b""

    def _write(self, parts: list[tuple[int, bytes]]) -> None:
        if parts:
            self._step([argument for offset, data in parts for argument in (offset, 0, data)])

    def _content(self) -> Any:
        """A copy of all of it, as a ctypes object."""
        return self._type.from_buffer_copy(self._read(0, ctypes.sizeof(self._type)))

    def _step(self, arguments: list[int | bytes]) -> bytes:
        lock = self._lock
        names = [self._key] if lock is None else [self._key, lock._key]

        def attempt(client: Client, mode: Mode) -> bytes | None:
            answer: bytes = client("mp_memory", names, [self._member.owner, mode, *arguments])
            return None if answer == b"-" else answer

        def give_up(client: Client) -> None:
            if lock is not None:
                client("mp_lock", [lock._key], ["give_up", self._member.owner, ""])

        woken_by = [f"{name}:w" for name in names[1:]]
        answer: bytes = self._member.until(attempt, woken_by, None, give_up=give_up)
        return answer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self._content()!r}>"


class RawValue(Memory):
    """One number, character or truth value, without a lock."""

    tag = "mp.RawValue"

    @property
    def value(self) -> Any:
        return self._content().value

    @value.setter
    def value(self, value: Any) -> None:
        content = self._type()
        content.value = value
        self._write([(0, bytes(content))])


class RawStructure(Memory):
    """A structure of the program's own, without a lock; its fields are attributes."""

    tag = "mp.RawStructure"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in _fields(self._type):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._content(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name not in _fields(self._type):
            object.__setattr__(self, name, value)
            return
        field = getattr(self._type, name)
        # (The size of a field of bits holds their number, too: then all of the bytes around it are written.)
        content = self._content() if field.size >> 16 else self._type()
        setattr(content, name, value)
        offset, size = (0, ctypes.sizeof(content)) if field.size >> 16 else (field.offset, field.size)
        self._write([(offset, bytes(content)[offset : offset + size])])


class RawArray(Memory):
    """Numbers, characters or structures one after another, without a lock."""

    tag = "mp.RawArray"

    def __len__(self) -> int:
        return int(self._type._length_)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1 and stop > start:
                size = ctypes.sizeof(self._type._type_)
                part = self._type._type_ * (stop - start)
                return part.from_buffer_copy(self._read(start * size, (stop - start) * size))[:]
            return self._content()[index]
        size = ctypes.sizeof(self._type._type_)
        return (self._type._type_ * 1).from_buffer_copy(self._read(self._place(index) * size, size))[0]

    def __setitem__(self, index: Any, value: Any) -> None:
        size = ctypes.sizeof(self._type._type_)
        if isinstance(index, slice):
            places = range(len(self))[index]
            changed = (self._type._type_ * len(places))()
            changed[:] = value
            data = bytes(changed)
            if places.step == 1:
                self._write([(places.start * size, data)] if data else [])
            else:
                self._write([(place * size, data[n * size : n * size + size]) for n, place in enumerate(places)])
            return
        one = (self._type._type_ * 1)()
        one[0] = value
        self._write([(self._place(index) * size, bytes(one))])

    def __iter__(self) -> Any:
        for index in range(len(self)):
            yield self[index]

    def _place(self, index: Any) -> int:
        try:
            return int(range(len(self))[index])
        except IndexError:
            raise IndexError("invalid index") from None

    @property
    def value(self) -> Any:
        """Of characters: up to the first zero."""
        return self._characters().value

    @value.setter
    def value(self, value: Any) -> None:
        content = self._characters()
        content.value = value
        self._write([(0, bytes(content))])

    @property
    def raw(self) -> bytes:
        """Of bytes: all of them."""
        return bytes(self._characters().raw)

    @raw.setter
    def raw(self, value: Any) -> None:
        content = self._characters()
        content.raw = value
        self._write([(0, bytes(content))])

    def _characters(self) -> Any:
        if self._type._type_ not in (ctypes.c_char, ctypes.c_wchar):
            raise AttributeError(
                f"{type(self).__name__!r} object of {self._type._type_.__name__} has no value as a whole"
            )
        return self._content()


class SynchronizedBase(Guarded, Memory):
    """Memory with a lock, which an access takes by itself."""

    _lock: LockBase

    def get_lock(self) -> LockBase:
        return self._lock

    def get_obj(self) -> Any:
        raise NotShareable(
            "get_obj() gives the memory itself, which processes on several machines cannot share; use .value, indexes "
            "and slices, or copy all of it with [:]"
        )


class Synchronized(SynchronizedBase, RawValue):
    """What `Value()` returns."""

    tag = "mp.Synchronized"


class SynchronizedStructure(SynchronizedBase, RawStructure):
    """What `Value()` returns for a structure."""

    tag = "mp.SynchronizedStructure"


class SynchronizedArray(SynchronizedBase, RawArray):
    """What `Array()` returns."""

    tag = "mp.SynchronizedArray"


def Value(member: Member, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:  # noqa: N802  the standard's name
    """A value of this type; `lock` is True for a new RLock, False for none, or a lock."""
    kind = type_for(typecode_or_type)
    raw: type[Memory]
    synchronized: type[Memory]
    raw, synchronized = (RawValue, Synchronized) if issubclass(kind, _Simple) else (RawStructure, SynchronizedStructure)
    if issubclass(kind, ctypes.Array):
        raw, synchronized = RawArray, SynchronizedArray
    return _made(member, kind(*args), lock, raw, synchronized)


def Array(member: Member, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:  # noqa: N802
    """An array of this size, or of these values."""
    kind = type_for(typecode_or_type)
    if isinstance(size_or_initializer, int):
        content = (kind * size_or_initializer)()
    else:
        values = list(size_or_initializer)
        content = (kind * len(values))(*values)
    return _made(member, content, lock, RawArray, SynchronizedArray)


def _made(member: Member, content: Any, lock: Any, raw: type[Memory], synchronized: type[Memory]) -> Any:
    if lock is False:
        return raw.of(member, content)
    if lock in (True, None):
        lock = RLock(member)
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    if not isinstance(lock, LockBase):
        raise TypeError(f"the lock of a shared value has to be one of this module, not a {type(lock).__name__}")
    return synchronized.of(member, content, lock)


def _fields(kind: Any) -> set[str]:
    return {field[0] for base in kind.__mro__ for field in vars(base).get("_fields_", ())}
