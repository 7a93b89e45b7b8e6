"""What is called: from a function object to the task's name that the workers know it by, and its arguments to JSON."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sheaf.core.errors import InputError, TaskError
from sheaf.formats.values import default

#: Modules that hold another's functions, and the name by which everybody knows them.
_PUBLIC_NAMES = {"_operator": "operator", "posix": "os", "_io": "io"}
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=default).encode
#: For these there is a shorter way.
_PLAIN: dict[type, Callable[[Any], str]] = {
    int: str,
    str: json.encoder.encode_basestring_ascii,
    bool: lambda value: "true" if value else "false",
}

Function = Callable[..., Any] | str


class Call(NamedTuple):
    """A function as a task, with arguments that come first in every call."""

    #: `module:function`.
    task: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}


def call_of(function: Function, tasks_dir: Path) -> Call:
    """Return what a function is called in the workers. Raises TaskError if no other process could find it."""
    if isinstance(function, str):
        if function.count(":") != 1:
            raise TaskError(f"{function!r} does not have the form module:function, as in 'shop.prices:parse'")
        return Call(function)
    if isinstance(function, functools.partial):
        inner = call_of(function.func, tasks_dir)
        return Call(inner.task, inner.arguments + function.args, {**inner.keywords, **function.keywords})
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None) or getattr(getattr(function, "__self__", None), "__name__", None)
    if not isinstance(name, str) or not isinstance(module, str) or not callable(function):
        raise TaskError(f"{function!r} is not a function that workers can find by name; define a function in a module")
    if not name.isidentifier():
        raise TaskError(
            f"{module}.{name} is not at the top level of its module, so no other process can find it; "
            "move the function there (a lambda needs a `def`, a method a function that calls it)"
        )
    name = _own_name(function, module, name)
    if module == "__main__":
        module = _main_module(name, tasks_dir)
    return Call(f"{_PUBLIC_NAMES.get(module, module)}:{name}")


def _own_name(function: Callable[..., Any], module: str, name: str) -> str:
    """The name under which the module has this function: a decorator may have given it that of what it wraps.

    Raises TaskError if it has none: workers would call the other one.
    """
    imported = sys.modules.get(module)
    found = getattr(imported, name, function)
    if found is function:
        return name
    for other, value in vars(imported).items():
        if value is function and other.isidentifier():
            return other
    if _code(found) == _code(function) is not None:
        return name  # its module has been loaded again since
    raise TaskError(
        f"{module}.{name} is not the function that was given, but another of its name (is it what that wraps?), and "
        "workers find functions by their names; give this one a name of its own at the top level of its module"
    )


def _code(function: object) -> tuple[str, str] | None:
    """In which file, and as what, a function was written; None of what is written in C."""
    code = getattr(function, "__code__", None)
    return None if code is None else (code.co_filename, code.co_qualname)


def _main_module(name: str, tasks_dir: Path) -> str:
    """The name under which workers import the script that is running."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise TaskError(
            f"{name!r} was typed at a prompt, so no other process can import it; "
            f"put it into a file in the tasks folder ({tasks_dir}) and import it from there"
        )
    path = Path(file).resolve()
    if not path.is_relative_to(tasks_dir.resolve()):
        raise TaskError(
            f"{name!r} is in the script {path}, which is not under the tasks folder ({tasks_dir}), "
            "so the workers cannot import it; move the script or the function there, or choose the folder with "
            "SHEAF_TASKS_DIR or Cluster.local(tasks=...)"
        )
    parts = path.relative_to(tasks_dir.resolve()).with_suffix("").parts
    if not all(part.isidentifier() for part in parts):
        raise TaskError(f"{path} cannot be imported under that name; use only letters, digits and underscores")
    return ".".join(parts)


#: How a task opens what programs share, by the class of it.
_SHARED = {
    "SharedLock": "Cluster().lock(name)",
    "SharedQueue": "Cluster().queue(name)",
    "SharedDict": "Cluster().dict(name)",
    "Counter": "Cluster().counter(name)",
}


def encode_call(call: Call, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """One call as a line of a run. Raises InputError for what JSON cannot hold."""
    try:
        return _encode([[*call.arguments, *arguments], {**call.keywords, **keywords}])
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(_not_json(f"an argument of {call.task}", error)) from error


def encode_items(items: Sequence[Any]) -> tuple[list[str], InputError | None]:
    """Items as lines of a run: those before the first that JSON cannot hold, and what is wrong with that one."""
    kinds = set(map(type, items))
    if len(kinds) == 1 and (short := _PLAIN.get(kinds.pop())):
        return list(map(short, items)), None
    lines: list[str] = []
    try:
        for item in items:
            lines.append(_encode(item))  # noqa: PERF401  what was encoded before the error counts
    except (TypeError, ValueError, RecursionError) as error:
        return lines, InputError(_not_json(f"the item {_shown(items[len(lines)])}", error))
    return lines, None


def _not_json(what: str, error: Exception) -> str:
    shared = next((way for kind, way in _SHARED.items() if f"type {kind} " in str(error)), None)
    if shared is not None:
        return (
            f"{what} cannot be sent to the workers: {error}; pass its name, and have the task open it by that: "
            f"`from sheaf import Cluster`, then `{shared}`"
        )
    return (
        f"{what} cannot be sent to the workers: {error}; "
        "pass text, numbers, booleans, None, and lists and dicts of these"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def decode_item(line: str, *, is_call: bool) -> Any:
    """The item of a line; of a call with one argument and nothing else, that argument."""
    item = json.loads(line)
    if is_call and len(item[0]) == 1 and not item[1]:
        return item[0][0]
    return item
