"""The classes and functions of the standard library that a message may name: a fixed list.

The functions only compute; none of them evaluates, opens or imports anything, or looks up an attribute by name. The
classes are those whose instances programs send. Exceptions and enums are accepted from any module of the library that
is loaded already, since rebuilding them runs none of the module's code.
"""

from __future__ import annotations

import enum
import importlib
import math
import operator
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

from sheaf.values.resolver import find_in

_TYPES = (
    "bool bytearray bytes complex dict enumerate filter float frozenset int list map object range reversed set slice "
    "str tuple zip"
)
_FUNCTIONS = (
    "abs all any ascii bin callable chr divmod format hash hex isinstance issubclass iter len max min next oct ord pow "
    "print repr round sorted sum"
)
#: Modules whose public functions are all allowed, ...
_WHOLE = (math, operator)
#: ... except for these, which call their argument or look up attributes by name.
_NOT_OF_OPERATOR = {"call", "attrgetter", "methodcaller", "itemgetter"}

#: Classes that can be named: `module: names`.
_CLASSES = {
    "builtins": _TYPES,
    "collections": "Counter OrderedDict defaultdict deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath",
    "types": "SimpleNamespace",
    "argparse": "Namespace",
    "uuid": "UUID",
    "zoneinfo": "ZoneInfo",
}
#: Classes whose instances may also be rebuilt from their parts. Most of the others have tags of their own.
_REBUILT = {
    "collections": "ChainMap UserDict UserList UserString",
    "io": "BytesIO StringIO",
    "ipaddress": "IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network",
    "logging": "LogRecord",
    "operator": "itemgetter",
    "os": "stat_result terminal_size",
    "random": "Random",
    "statistics": "NormalDist",
    "string": "Template",
    "subprocess": "CompletedProcess",
    "time": "struct_time",
    "urllib.parse": "DefragResult DefragResultBytes ParseResult ParseResultBytes SplitResult SplitResultBytes",
}
_REBUILT_NAMES = {(module, name) for module, names in _REBUILT.items() for name in names.split()}
_REBUILT_NAMES.add(("builtins", "object"))
_NAMES = {(module, name) for module, names in _CLASSES.items() for name in names.split()}
_NAMES |= _REBUILT_NAMES
#: Modules whose classes carry the name of another module, and that public name.
_PUBLIC_MODULES = {
    "_io": "io",
    "_operator": "operator",
    "_random": "random",
    "posix": "os",
    "pathlib._local": "pathlib",
}
#: Types whose public methods may be named.
_WITH_METHODS: dict[str, type] = {
    kind.__name__: kind for kind in (str, bytes, int, float, complex, list, dict, tuple, set, frozenset)
}
#: Format strings can reach any attribute of their arguments.
_NO_METHODS = {"format", "format_map"}


def name_of(thing: Any) -> tuple[str, str] | None:
    """Return the name of a class or function on the list; None if it is not."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    module = _PUBLIC_MODULES.get(module, module)
    try:
        return (module, name) if find(module, name) is thing else None
    except LookupError:
        return None


def find(module: str, name: str) -> Any:
    """Raises LookupError for anything that is not on the list. Only modules on the list are imported."""
    if (module, name) in _NAMES:
        return getattr(importlib.import_module(module), name)
    found = _functions().get((module, name))
    if found is None:
        found = _exception_or_enum(module, name)
    if found is None:
        raise LookupError(f"{module}.{name} is not one of the standard library's names that can be sent")
    return found


def is_rebuilt(kind: type) -> bool:
    """Whether instances of the class may be rebuilt from their parts."""
    return (_PUBLIC_MODULES.get(kind.__module__, kind.__module__), kind.__qualname__) in _REBUILT_NAMES


def is_of_the_library(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _exception_or_enum(module: str, name: str) -> type | None:
    """Return such a class of a loaded module, or one of Sheaf's own exceptions."""
    home = sys.modules.get(module) if is_of_the_library(module) or module == "sheaf.core.errors" else None
    if home is None:
        return None
    try:
        found = find_in(home, name)
    except LookupError:
        return None
    return found if isinstance(found, type) and issubclass(found, BaseException | enum.Enum) else None


def _functions() -> dict[tuple[str, str], Callable[..., Any]]:
    if not _found_functions:
        import builtins

        for name in _FUNCTIONS.split():
            _found_functions["builtins", name] = getattr(builtins, name)
        for module in _WHOLE:
            for name, function in vars(module).items():
                if isinstance(function, BuiltinFunctionType) and not name.startswith("_"):
                    _found_functions[module.__name__, name] = function
        for name in _NOT_OF_OPERATOR:
            _found_functions.pop(("operator", name), None)
    return _found_functions


_found_functions: dict[tuple[str, str], Callable[..., Any]] = {}


def method_name(method: Any) -> tuple[str, str] | None:
    """Return the type and the name of a method such as `str.upper`; None if it is not allowed."""
    kind: type = method.__objclass__
    name: str = method.__name__
    return (kind.__name__, name) if _WITH_METHODS.get(kind.__name__) is kind and is_harmless_method(name) else None


def find_method(kind: str, name: str) -> Any:
    """Raises LookupError for a method that is not allowed."""
    home = _WITH_METHODS.get(kind)
    found = vars(home).get(name) if home is not None and is_harmless_method(name) else None
    if not isinstance(found, MethodDescriptorType):
        raise LookupError(f"{kind}.{name} is not a method that can be sent")
    return found


def is_harmless_method(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name not in _NO_METHODS


def has_methods(kind: type) -> bool:
    """Whether bound methods of the type may be sent."""
    return _WITH_METHODS.get(kind.__name__) is kind
