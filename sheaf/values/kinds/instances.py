"""Objects of the program's own classes, taken apart like pickle does, but rebuilt without calling a received function.

`__reduce_ex__(4)` says what an object consists of: by default its class, arguments for `__new__`, and its attributes.
That is what is sent, provided that the object is created by its own class. The other side only creates objects of
classes that its resolver knows, or that are on the list of the standard library's.
"""

from __future__ import annotations

import copyreg
import re
from types import BuiltinFunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from sheaf.core.errors import ValueUnreadable
from sheaf.values import standard
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import Kind, kinds
from sheaf.values.kinds import remedies
from sheaf.values.kinds.collections import attribute_cells, check_attribute, fill_dict

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding

_NEW, _CALL = "new", "call"
#: Set by `typing` in instances of parametrized generics. It cannot be sent, and nothing needs it.
_NOTES_OF_TYPING = "__orig_class__"
_TWO_POINTERS = 2 * tuple.__itemsize__
_is_pythons = re.compile("__.*__").fullmatch


def write(encoding: Encoding, value: Any) -> list[Any] | None:
    """Write the first object of a class, and choose the writer for the others."""
    kind = type(value)
    if encoding.resolver.name_of(kind) is None and not standard.is_rebuilt(kind):
        raise Unsendable(remedies.of_object(kind))
    writer = _write_attributes if _has_only_attributes(kind) else _write_reduced
    encoding.remember(kind, writer)
    return writer(encoding, value)


def _has_only_attributes(kind: type) -> bool:
    """Whether an object of the class is just its `__dict__`, with no say in how it is taken apart."""
    own_way = ("__getnewargs__", "__getnewargs_ex__", "__setstate__")
    return (
        _is_default(kind, "__reduce_ex__", "__reduce__", "__getstate__", "__new__")
        and kind not in copyreg.dispatch_table
        and not any(hasattr(kind, name) for name in own_way)
        and kind.__dictoffset__ != 0
        and kind.__itemsize__ == 0
        # Room for a dict and weak references, but not for state that C code keeps.
        and kind.__basicsize__ <= object.__basicsize__ + _TWO_POINTERS
        and not copyreg._slotnames(kind)  # type: ignore[attr-defined]  # as pickle does
    )


def _is_default(kind: type, *methods: str) -> bool:
    """Whether a class inherits these methods from `object`."""
    return all(getattr(kind, name) is getattr(object, name) for name in methods)


def _write_attributes(encoding: Encoding, value: Any) -> list[Any]:
    values = vars(value)
    kind = encoding.cell(type(value))
    if "__" in "".join(values):
        values = _without_notes(values)
    if not values:
        return ["instance", kind]
    inline = encoding.inline(values)
    return ["instance", kind, inline] if inline is not None else ["instance", kind, *encoding.attributes(values)]


def _without_notes(values: dict[str, Any]) -> dict[str, Any]:
    """Drop the note of `typing`. Raises Unsendable for other dunder attributes."""
    left = {name: part for name, part in values.items() if name != _NOTES_OF_TYPING}
    for name in filter(_is_pythons, left):
        raise Unsendable(
            f"an attribute called {name!r} cannot be sent, as such names are reserved by Python; rename it"
        )
    return left


def _make_instance(decoding: Decoding, node: list[Any]) -> Any:
    kind = decoding.value(node[1])
    if kind not in decoding.simple_classes:
        kind = _class_to_make(decoding, node[1])
        if not _has_only_attributes(kind):
            raise ValueUnreadable(f"the message is damaged: a {kind.__name__} is more than its attributes")
        decoding.simple_classes.add(kind)
    return object.__new__(kind)


def _fill_instance(decoding: Decoding, made: Any, node: list[Any]) -> None:
    if len(node) == 3:
        cell = node[2]
        attributes = cell[0] if type(cell) is list else None
        if type(attributes) is not dict:
            raise ValueUnreadable("the message is damaged: the attributes of an object are not a dict")
        if "__" in "".join(attributes):
            for name in attributes:
                check_attribute(name)
        vars(made).update(attributes)
    else:
        fill_dict(decoding, vars(made), attribute_cells(node[2:]))


kinds["instance"] = Kind(_make_instance, _fill_instance)


def _write_reduced(encoding: Encoding, value: Any) -> list[Any]:
    kind = type(value)
    reduce = copyreg.dispatch_table.get(kind)
    try:
        reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:
        raise Unsendable(f"{remedies.article(remedies.full_name(kind))} cannot be sent: {error}") from error
    way, arguments, keywords = _way(kind, reduced)
    encoding.temporary(reduced)
    state, items, pairs = (*reduced[2:5], None, None, None)[:3]
    parts = (
        (tuple(arguments), "" if issubclass(kind, tuple) else "(…)"),
        (keywords or None, "(…)"),
        (None if items is None else list(items), ""),
        (None if pairs is None else dict(pairs), ""),
    )
    # The order matters: what the object is created from precedes what may refer back to it.
    cells = [encoding.cell(kind), way]
    cells += [encoding.part(encoding.temporary(part), step) for part, step in parts]
    return ["object", *cells, _write_state(encoding, state)]


def _way(kind: type, reduced: Any) -> tuple[str, Any, Any]:
    """Return how the object is created, and from what. Raises Unsendable if a function would create it."""
    name = remedies.article(remedies.full_name(kind))
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 5:
        raise Unsendable(
            f"{name} cannot be sent, because its __reduce__ returns a variable's name; return (type(self), arguments)"
        )
    function, arguments = reduced[:2]
    if function is copyreg.__newobj__ and arguments[0] is kind:  # type: ignore[attr-defined]
        return _NEW, arguments[1:], None
    if function is copyreg.__newobj_ex__ and arguments[0] is kind:  # type: ignore[attr-defined]
        return _NEW, arguments[1], arguments[2]
    if function is kind:
        return _CALL, arguments, None
    raise Unsendable(
        f"{name} cannot be sent, because its __reduce__ returns the function {_function_name(function)}, and functions "
        "received in a message are not called; return (type(self), arguments), or define __getstate__ and __setstate__"
    )


def _function_name(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__name__)}"


def _write_state(encoding: Encoding, state: Any) -> Any:
    """Write the state; errors name attributes as such. A `__getstate__` may return anything."""
    if type(state) is dict and all(type(name) is str for name in state):
        return encoding.attribute_dict(encoding.temporary(state))
    return encoding.part(encoding.temporary(state), ".__getstate__()")


def _make_object(decoding: Decoding, node: list[Any]) -> Any:
    _, cell, way, arguments_cell, keywords_cell, *_ = node
    kind = _class_to_make(decoding, cell)
    # A class may copy its argument, as a set does with a list.
    arguments = (decoding.filled if way == _CALL else decoding.expect)(arguments_cell, tuple)
    keywords = {} if keywords_cell is None else decoding.filled(keywords_cell, dict)
    _check_arguments(kind, arguments)
    if way == _NEW:
        return kind.__new__(kind, *arguments, **keywords)
    # A class is only called if its __reduce__ asks for that: its __init__ may do anything.
    if way != _CALL or _is_default(kind, "__reduce_ex__", "__reduce__"):
        raise ValueUnreadable(f"the message is damaged: a {kind.__name__} is not created by a call")
    return kind(*arguments)


def _fill_object(decoding: Decoding, made: Any, node: list[Any]) -> None:
    _, _, _, _, _, items_cell, pairs_cell, state_cell = node
    items = None if items_cell is None else decoding.filled(items_cell, list)
    pairs = None if pairs_cell is None else decoding.filled(pairs_cell, dict)
    state = decoding.filled(state_cell, type(decoding.value(state_cell)))
    if items is not None:
        made.extend(items)
    if pairs is not None:
        for key, value in pairs.items():
            made[key] = value
    if state is not None:
        _set_state(made, state)


kinds["object"] = Kind(_make_object, _fill_object)


def _class_to_make(decoding: Decoding, cell: Any) -> type:
    """Return the class of an object. Raises ValueUnreadable if it is neither the program's own nor on the list."""
    kind = decoding.value(cell)
    if not isinstance(kind, type):
        raise ValueUnreadable(f"the message is damaged: {str(kind)[:60]} is not a class")
    if decoding.resolver.name_of(kind) is None and not standard.is_rebuilt(kind):
        raise ValueUnreadable(f"objects of the class {remedies.full_name(kind)} are not rebuilt from messages")
    return kind


def _check_arguments(kind: type, arguments: tuple[Any, ...]) -> None:
    """Refuse small messages that expand, such as `bytes(10**12)` and `tuple(range(10**12))`."""
    if len(arguments) == 1 and type(kind.__new__) is BuiltinFunctionType:
        (argument,) = arguments
        if type(argument) is range or (type(argument) is int and issubclass(kind, bytes | bytearray)):
            raise ValueUnreadable(f"the message is damaged: {argument!r} is not an argument for {kind.__name__}")


def _set_state(made: Any, state: Any) -> None:
    """Set the state like pickle does, but refuse dunder attributes, and bypass `__setattr__`."""
    set_state = getattr(type(made), "__setstate__", None)
    if set_state is not None:
        set_state(made, state)
        return
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if state is not None:
        if type(state) is not dict:
            raise ValueUnreadable(f"the message is damaged: the state of a {type(made).__name__} is not a dict")
        for name in state:
            check_attribute(name)
        vars(made).update(state)
    if slots is not None and type(slots) is not dict:
        raise ValueUnreadable(f"the message is damaged: the slots of a {type(made).__name__} are not a dict")
    for name, value in (slots or {}).items():
        _set_slot(made, name, value)


def _set_slot(made: Any, name: str, value: Any) -> None:
    check_attribute(name)
    slot = next((vars(base)[name] for base in type(made).__mro__ if name in vars(base)), None)
    if type(slot) is not MemberDescriptorType:
        raise ValueUnreadable(f"the message is damaged: a {type(made).__name__} has no slot {name[:60]!r}")
    slot.__set__(made, value)
