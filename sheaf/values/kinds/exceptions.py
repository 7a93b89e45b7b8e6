"""Exceptions with their causes. Rebuilding one runs none of its own code.

`args` and the attributes are sent, not what `__reduce__` returns. So an exception whose `__init__` takes other
arguments than it passes to Exception arrives intact, which pickle cannot do. One that cannot be rebuilt arrives as a
RemoteError with the name of its class and its text.
"""

from __future__ import annotations

from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from sheaf.core.errors import RemoteError, ValueUnreadable
from sheaf.values.encoding import Unsendable
from sheaf.values.kind import Kind, kinds
from sheaf.values.kinds import remedies
from sheaf.values.kinds.collections import check_attribute
from sheaf.values.kinds.names import find, name_cells

if TYPE_CHECKING:
    from sheaf.values.decoding import Decoding
    from sheaf.values.encoding import Encoding

#: What add_note() has added: the only dunder attribute that is kept.
_NOTES = "__notes__"
_MOST_TEXT = 100_000


def write(encoding: Encoding, value: BaseException) -> list[Any]:
    """Write class, arguments and attributes first, then cause and context, which may refer back to it."""
    name = name_cells(encoding, type(value))
    arguments, state = _parts(value)
    text = _text_of(value)
    if name is None or not _fits(encoding, arguments, state):
        return ["remote", remedies.full_name(type(value)), encoding.cell(text), *_write_links(encoding, value)]
    cells = [encoding.part(encoding.temporary(part), ".args") for part in (arguments, state)]
    return ["exception", *name, encoding.cell(text), *cells, *_write_links(encoding, value)]


def _write_links(encoding: Encoding, value: BaseException) -> list[Any]:
    return [
        encoding.part(value.__cause__, ".__cause__"),
        encoding.part(value.__context__, ".__context__"),
        value.__suppress_context__,
    ]


def _parts(value: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments for its built-in base class, and its attributes."""
    reduced: Any = _builtin(type(value)).__reduce__(value)
    state = dict(reduced[2]) if len(reduced) > 2 and reduced[2] else {}
    return tuple(reduced[1]), {name: part for name, part in state.items() if name == _NOTES or name[:2] != "__"}


def _builtin(kind: type) -> Any:
    """Return the built-in class that it derives from."""
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _text_of(value: BaseException) -> str:
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001  the program's own code
        return f"(its __str__ raised {type(error).__name__})"
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _fits(encoding: Encoding, *parts: Any) -> bool:
    """Whether all of it can be sent. Tried separately, since nodes cannot be taken back."""
    try:
        encoding.apart().cell(parts)
    except (Unsendable, RecursionError):
        return False
    return True


def _make(decoding: Decoding, node: list[Any]) -> BaseException:
    _, owner, module, name, text, *_ = node
    try:
        kind = find(decoding, ["name", owner, module, name])
    except ValueUnreadable:
        return RemoteError(f"{module}.{name}"[:500], decoding.expect(text, str))
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        raise ValueUnreadable(f"the message is damaged: {remedies.full_name(kind)} is not an exception")
    is_group = issubclass(kind, BaseExceptionGroup)  # it copies the list of its members
    arguments = (decoding.filled if is_group else decoding.expect)(node[5], tuple)
    builtin = _builtin(kind)
    made: BaseException = builtin.__new__(kind, *arguments)
    builtin.__init__(made, *arguments)
    return made


def _fill(decoding: Decoding, made: BaseException, node: list[Any]) -> None:
    state = decoding.filled(node[6], dict)
    links = _links(decoding, node[7:])
    if type(made) is not RemoteError or node[3] == RemoteError.__name__:
        for name, part in state.items():
            _set(made, name, part)
    _link(made, links)


def _set(made: BaseException, name: str, value: Any) -> None:
    """Set an attribute, which may be one of the built-in class (`name` of an ImportError)."""
    if name != _NOTES:
        check_attribute(name)
    slot = getattr(type(made), name, None)
    if isinstance(slot, MemberDescriptorType | GetSetDescriptorType):
        slot.__set__(made, value)
    else:
        vars(made)[name] = value


def _make_remote(decoding: Decoding, node: list[Any]) -> RemoteError:
    _, name, text, *_ = node
    if type(name) is not str:
        raise ValueUnreadable("the message is damaged: an exception without a name")
    return RemoteError(name[:500], decoding.expect(text, str))


def _fill_remote(decoding: Decoding, made: RemoteError, node: list[Any]) -> None:
    _link(made, _links(decoding, node[3:]))


def _links(decoding: Decoding, cells: list[Any]) -> tuple[Any, Any, bool]:
    cause, context, suppressed = cells
    return decoding.value(cause), decoding.value(context), bool(suppressed)


def _link(made: BaseException, links: tuple[Any, Any, bool]) -> None:
    made.__cause__, made.__context__, made.__suppress_context__ = links


kinds["exception"] = Kind(_make, _fill)
kinds["remote"] = Kind(_make_remote, _fill_remote)
