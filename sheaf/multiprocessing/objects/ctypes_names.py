"""How the types of shared memory are named in a value that is sent: by type codes, or as the program's own classes."""

from __future__ import annotations

import ctypes
from typing import Any

from sheaf.core.errors import ValueUnreadable

#: As in `multiprocessing.sharedctypes`.
TYPECODES: dict[str, Any] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}
#: By the code that ctypes itself has for them.
_SIMPLE: dict[str, Any] = {kind._type_: kind for kind in (*TYPECODES.values(), ctypes.c_bool, ctypes.c_longdouble)}
#: The class of ctypes' simple types.
_Simple: Any = ctypes.c_int.__mro__[1]


def type_for(typecode_or_type: Any) -> Any:
    """The ctypes type. Raises TypeError for what is none, or cannot be shared between machines."""
    kind = TYPECODES.get(typecode_or_type, typecode_or_type) if isinstance(typecode_or_type, str) else typecode_or_type
    if kind is None or not isinstance(kind, type):
        raise TypeError(f"{typecode_or_type!r} is neither one of the type codes {''.join(TYPECODES)} nor a ctypes type")
    _check(kind)
    return kind


def _check(kind: Any) -> None:
    if issubclass(kind, _Simple):
        if kind._type_ not in _SIMPLE:
            raise TypeError(f"a {kind.__name__} is an address, which means nothing in another process; share its bytes")
    elif issubclass(kind, ctypes.Array):
        _check(kind._type_)
    elif issubclass(kind, ctypes.Structure | ctypes.Union):
        for field in kind._fields_:
            _check(field[1])
    else:
        raise TypeError(f"a {kind.__name__} cannot be shared: use a type code, or a simple type or structure of ctypes")


def described(kind: Any) -> Any:
    """The type as a value that can be sent."""
    code = getattr(kind, "_type_", None)
    if isinstance(code, str) and _SIMPLE.get(code) is kind:
        return code
    if issubclass(kind, ctypes.Array):
        return [described(kind._type_), kind._length_]
    return kind


def of_description(description: Any) -> Any:
    """Raises ValueUnreadable for what is no description of a type."""
    if type(description) is str and description in _SIMPLE:
        return _SIMPLE[description]
    if type(description) is list and len(description) == 2 and type(description[1]) is int and description[1] >= 0:
        try:
            return of_description(description[0]) * description[1]
        except OverflowError:
            raise ValueUnreadable("the message is damaged: an array of more bytes than there can be") from None
    if isinstance(description, type) and issubclass(description, _Simple | ctypes.Structure | ctypes.Union):
        return description
    raise ValueUnreadable("the message is damaged: no type of shared memory")
