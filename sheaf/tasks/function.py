"""The user's own function as a task: found under the tasks folder, called once per item."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sheaf.batch import Done, Failed, Item, Result
from sheaf.errors import TaskError
from sheaf.formats import Format
from sheaf.tasks import Source

#: How long a child waits for the next item before it takes an idle turn.
_IDLE_S = 1.0
#: How much of an exception's text a failure keeps; it is stored in the index.
_MESSAGE_CHARS = 2000


class FunctionTask:
    """Calls a function with each item's text (as JSON if the option `json` is true); what it returns is the record."""

    def __init__(self, name: str, function: Callable[[Any], object], tasks_dir: Path) -> None:
        self._name = name
        self._function = function
        self._tasks_dir = tasks_dir

    def window(self, options: Mapping[str, Any]) -> int:  # noqa: ARG002
        return 0

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        parse = json.loads if options.get("json") else str
        while True:
            item = source.take(0)
            if item is None:
                if source.closed:
                    return
                yield None
                item = source.take(_IDLE_S)
                if item is None:
                    continue
            yield self._call(item, parse, format)

    def _call(self, item: Item, parse: Callable[[str], Any], format: Format) -> Result:
        try:
            return Done(item.index, format.value(item, self._function(parse(item.text))))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code raises is this item's failure
            return Failed(item.index, type(error).__name__, _describe(error, self._tasks_dir), 1)


def find_function(name: str, tasks_dir: Path) -> FunctionTask:
    """Import `module:function` from a file under `tasks_dir`. Raises TaskError that names file and line."""
    module_name, _, function_name = name.partition(":")
    folder = tasks_dir.resolve()
    path = _module_path(name, module_name, folder)
    function = getattr(_import(name, module_name, path, folder), function_name, None)
    if not callable(function):
        raise TaskError(f"{path} has no function {function_name!r}, which the task {name!r} names")
    _check_signature(name, path, function)
    return FunctionTask(name, function, folder)


def _module_path(name: str, module_name: str, folder: Path) -> Path:
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise TaskError(f"the task {name!r} is not of the form module:function, as in `shop.prices:parse`")
    stem = folder.joinpath(*parts)
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            if not path.resolve().is_relative_to(folder):
                raise TaskError(
                    f"{path}, the file of {name!r}, is a link out of the tasks folder; put the file itself there"
                )
            return path
    raise TaskError(f"the task {name!r} needs the file {stem.with_suffix('.py')}, which does not exist")


def _import(name: str, module_name: str, path: Path, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        # Last, so that a user's file never takes the place of a library that something else imports.
        sys.path.append(str(folder))
    try:
        spec = importlib.util.find_spec(module_name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve() != path.resolve():
            raise TaskError(
                f"{path}, the file of {name!r}, has the name of a module that Python already has; rename it"
            )
        return importlib.import_module(module_name)
    except TaskError:
        raise
    except SyntaxError as error:
        raise TaskError(f"{name!r} cannot be imported: {error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"{name!r} cannot be imported: {_describe(error, folder)}") from error


def _check_signature(name: str, path: Path, function: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a function written in C may not tell; the first call will
    try:
        signature.bind(None)
    except TypeError as error:
        where = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
        raise TaskError(
            f"{path}:{where}: {name!r} is called with one argument, the item, but it takes {signature}"
        ) from error


def _describe(error: BaseException, folder: Path) -> str:
    """Say what was raised, and where: the innermost line of the user's own files, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(str(folder))]
    text = f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS]
    others = [frame for frame in frames if frame.filename != __file__]
    if not own and not others:
        return text
    where = (own or others)[-1]
    return f"{text} ({where.filename}:{where.lineno})"
