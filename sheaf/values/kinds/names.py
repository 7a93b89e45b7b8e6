"""Classes and functions, which are sent by name; and methods, partials and enum members, which refer to them."""

from __future__ import annotations

import enum
import functools
import re
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values import standard
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import makes, writes
from sheaf.values.kinds import remedies
from sheaf.values.resolver import Resolver

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding
    from sheaf.values.kind import Cell

#: Whose name it is. A module of the program may be called like one of the standard library.
_LIBRARY, _OWN = "library", "own"


def name_cells(encoding: Encoding, thing: Any) -> list[Cell] | None:
    """Return the owner, module and qualified name of a class or function; None if the other side could not find it."""
    found = encoding.resolver.name_of(thing)
    if found is not None:
        return [_OWN, *found]
    found = standard.name_of(thing)
    return None if found is None else [_LIBRARY, *found]


@makes("name")
def find(decoding: Decoding, node: list[Any]) -> Any:
    """Look up a class or function. Raises ValueUnreadable if neither the program nor the list has it."""
    _, owner, module, name = node
    if type(module) is not str or type(name) is not str or owner not in (_OWN, _LIBRARY):
        raise ValueUnreadable("the message is damaged: not a name")
    try:
        return decoding.resolver.find(module, name) if owner == _OWN else standard.find(module, name)
    except LookupError as error:
        why = error.args[0] if error.args else ""
        raise ValueUnreadable(
            f"{module[:100]}.{name[:100]} cannot be found here: {why}; run the same program on both sides"
        ) from error


@writes(type)
def write_class(encoding: Encoding, value: type) -> list[Any]:
    cells = name_cells(encoding, value)
    if cells is None:
        raise Unsendable(remedies.of_class(value))
    return ["name", *cells]


#: The two types of functions written in C.
_IN_C = (BuiltinFunctionType, type(re.compile("").match))


@writes(FunctionType, *_IN_C, type(functools.lru_cache(int)))
def write_function(encoding: Encoding, value: Any) -> list[Any]:
    own = getattr(value, "__self__", None)
    if own is not None and not isinstance(own, ModuleType):
        return _write_builtin_method(encoding, value, own)
    cells = name_cells(encoding, value)
    if cells is None:
        raise Unsendable(remedies.of_function(value))
    return ["name", *cells]


def _write_builtin_method(encoding: Encoding, value: Any, own: Any) -> list[Any]:
    """Write a bound method of a built-in type, such as `[].append`."""
    if not standard.has_methods(type(own)) or not standard.is_harmless_method(value.__name__):
        raise Unsendable(remedies.of_function(value))
    return ["method", encoding.part(own, ".__self__"), value.__name__]


@writes(MethodWrapperType, WrapperDescriptorType, ClassMethodDescriptorType)
def _write_wrapper(_encoding: Encoding, value: Any) -> list[Any]:
    raise Unsendable(remedies.of_function(value))


@writes(MethodDescriptorType)
def _write_descriptor(_encoding: Encoding, value: Any) -> list[Any]:
    found = standard.method_name(value)
    if found is None:
        raise Unsendable(remedies.of_function(value))
    return ["unbound", *found]


@makes("unbound")
def _unbound(_decoding: Decoding, node: list[Any]) -> Any:
    _, kind, name = node
    try:
        return standard.find_method(kind, name)
    except LookupError as error:
        raise ValueUnreadable(str(error)) from error


@writes(MethodType)
def _write_method(encoding: Encoding, value: MethodType) -> list[Any]:
    """Write the object and the name of the method."""
    own, name = value.__self__, value.__func__.__name__
    found = _method_of(own, name, encoding.resolver)
    if found is None or found.__func__ is not value.__func__:
        raise Unsendable(
            f"the method {name!r} of {remedies.article(type(own).__name__)} cannot be sent: no class of the program "
            "defines it under that name; send the object, and call the method there"
        )
    return ["method", encoding.part(own, ".__self__"), name]


@makes("method")
def _method(decoding: Decoding, node: list[Any]) -> Any:
    _, cell, name = node
    own = decoding.value(cell)
    if type(name) is not str or not name.isidentifier() or _is_dunder(name):
        raise ValueUnreadable(f"the message is damaged: not the name of a method: {str(name)[:60]!r}")
    if standard.has_methods(type(own)) and standard.is_harmless_method(name):
        found = getattr(own, name)
        if type(found) is BuiltinFunctionType:
            return found
    found = _method_of(own, name, decoding.resolver)
    if found is None:
        raise ValueUnreadable(f"a {type(own).__name__} has no method {name[:60]!r} that can be sent")
    return found


def _method_of(own: Any, name: str, resolver: Resolver) -> MethodType | None:
    """Bind a method that a class of the program defines, without looking up an attribute.

    If `own` is a class, only its class methods are found.
    """
    for base in type.mro(own) if isinstance(own, type) else type(own).__mro__:
        found = vars(base).get(name)
        if found is None:
            continue
        if _is_dunder(name) or (resolver.name_of(base) is None and not standard.is_rebuilt(base)):
            return None
        if isinstance(own, type):
            return MethodType(found.__func__, own) if type(found) is classmethod else None
        return MethodType(found, own) if type(found) is FunctionType else None
    return None


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


@writes(functools.partial)
def _write_partial(encoding: Encoding, value: functools.partial[Any]) -> list[Any]:
    return [
        "partial",
        encoding.part(value.func, ".func"),
        encoding.part(value.args, ".args"),
        encoding.part(value.keywords, ".keywords"),
    ]


@makes("partial")
def _partial(decoding: Decoding, node: list[Any]) -> functools.partial[Any]:
    _, function, arguments, keywords = node
    named = decoding.filled(keywords, dict)
    if not all(type(key) is str for key in named):
        raise ValueUnreadable("the message is damaged: the keywords of a partial are not strings")
    return functools.partial(decoding.value(function), *decoding.expect(arguments, tuple), **named)


def write_member(encoding: Encoding, value: enum.Enum) -> list[Any]:
    """Write an enum member by its name, a combination of flags by its number."""
    kind = encoding.cell(type(value))
    if type(value).__members__.get(value._name_ or "") is value:
        return ["member", kind, value._name_]
    if isinstance(value, enum.Flag):
        return ["member", kind, None, encoding.cell(value._value_)]
    raise Unsendable(f"{value!r} is not a member of its enum that has a name; send a member, or its value")


@makes("member")
def _member(decoding: Decoding, node: list[Any]) -> enum.Enum:
    _, cell, name, *number = node
    kind = decoding.value(cell)
    if not isinstance(kind, type) or not issubclass(kind, enum.Enum):
        raise ValueUnreadable(f"the message is damaged: {str(kind)[:60]} is not an enum")
    if name is not None:
        return kind.__members__[name]
    value = decoding.expect(number[0], int)
    if not issubclass(kind, enum.Flag):
        raise ValueUnreadable(f"the message is damaged: {kind.__name__} is not an enum of flags")
    made = kind(value)
    if not isinstance(made, kind) or made._value_ != value:
        # Python 3.11.2 leaves out what is no flag where later versions refuse it.
        raise ValueUnreadable(f"the message is damaged: {kind.__name__} has no such combination of flags")
    return made
