"""What all shared objects have in common."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from sheaf.broker import keys
from sheaf.core.errors import ValueUnreadable
from sheaf.multiprocessing.member import Member

Self = TypeVar("Self", bound="SharedObject")

_NAME_CHARS = 16


class SharedObject:
    """Something in Redis that belongs to a program. In another process it is the same object, made of its reference."""

    #: The word for its class inside a value that is sent.
    tag: ClassVar[str]
    #: What follows its key in the names of its other keys.
    suffixes: ClassVar[tuple[str, ...]] = ()

    _member: Member
    _id: str
    _key: str

    def _make(self, member: Member, **fields: str | int) -> None:
        """Make it in Redis."""
        self._attach(member, member.new_object())
        pairs = [part for pair in fields.items() for part in pair]
        member.steps("mp_make", (), [self._key, len(self.suffixes), *self.suffixes, *pairs])

    def _attach(self, member: Member, name: str) -> None:
        self._member, self._id = member, name
        self._key = member.key(keys.MP_OBJECT + name)

    def reference(self) -> Any:
        """What it is in a value that is sent."""
        return [self._id]

    @classmethod
    def from_reference(cls: type[Self], member: Member, reference: Any) -> Self:
        """The same object here. Raises ValueUnreadable for what is no reference."""
        made = cls.__new__(cls)
        made._attach(member, checked_name(reference))
        return made

    def delete(self) -> None:
        """Leave nothing of it in Redis, before the program ends. Using it then is an error."""
        self._member.steps("mp_delete", (), [self._key, *(self._key + suffix for suffix in self.suffixes)])


def checked_name(reference: Any, length: int = 1) -> str:
    """The object's name of a reference, which came from elsewhere."""
    if type(reference) is not list or len(reference) != length or not is_name(reference[0]):
        raise ValueUnreadable(f"{str(reference)[:80]!r} is no reference to a shared object; the message is damaged")
    return str(reference[0])


def is_name(name: Any) -> bool:
    return type(name) is str and len(name) == _NAME_CHARS and set(name) <= set("0123456789abcdef")


def count(value: Any, what: str) -> int:
    """A whole number."""
    if not isinstance(value, int):
        raise TypeError(f"{what} must be a whole number, not {type(value).__name__}")
    return int(value)
