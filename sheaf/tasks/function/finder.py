"""Find the user's function by its name, `module:function`, and say what kind of function it is."""

from __future__ import annotations

import errno
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal

from sheaf.core.errors import TaskChanged, TaskError
from sheaf.core.files import is_dir, is_file
from sheaf.tasks import module_files, tracebacks
from sheaf.tasks.decorator import TaskDeclaration, declaration_of, place_of
from sheaf.tasks.function.allowlist import find_registered, is_registered
from sheaf.tasks.function.importing import importing
from sheaf.tasks.function.process_state import process_state

Kind = Literal["function", "async", "stream"]


@dataclass(frozen=True, slots=True)
class Found:
    """A function that a task names, and how it is to be called."""

    name: str
    function: Callable[..., Any]
    kind: Kind
    declared: TaskDeclaration
    #: The tasks folder it is under; None: a library function.
    folder: Path | None


def find(
    name: str, tasks_dir: Path | None, modules: Sequence[str] = (), wanted: Mapping[str, str] = MappingProxyType({})
) -> Found:
    """Import `module:function`: a file under `tasks_dir`, or a registered library function (`modules`: more of them).

    Nothing else is ever imported. Raises TaskError, which names file and line where there is one; TaskChanged if a file
    that was imported has not the digest that it has in `wanted`.
    """
    module_name, _, function_name = name.partition(":")
    if is_registered(module_name, modules):
        return Found(name, find_registered(name, modules), "function", TaskDeclaration(), None)
    if tasks_dir is None:
        raise TaskError(
            f"there is no tasks folder in which to find {name!r}; set SHEAF_TASKS_DIR to the folder with its file"
        )
    folder = tasks_dir.resolve()
    try:
        path = _module_path(name, module_name, folder)
    except OSError as error:
        raise TaskError(f"the file of the task {name!r} cannot be searched for: {error}") from error
    # Before any of the user's code runs: a module may keep `os.chdir` under a name of its own.
    process_state.watch()
    module = _import(name, module_name, path, folder, wanted)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise TaskError(f"{path} has no function {function_name!r}, named by the task {name!r}")
    _check_origin(name, path, function, folder)
    declared = _declared(function)
    return Found(name, function, _kind(name, function, declared), declared, folder)


def check_signature(found: Found, way: str) -> None:
    """Raise TaskError that names file and line if the function cannot be called with an item (and its setup's gift)."""
    if way == "call" and found.kind == "stream":
        raise TaskError(
            f"{place_of(found.function)}: {found.name!r} takes a stream of items; it cannot be called with arguments"
        )
    if way == "call":
        return  # each item brings its own arguments
    try:
        # Its own: what it may be wrapped around is called by it, with whatever it likes.
        signature = inspect.signature(found.function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # what is written in C may not tell; the first call will
    given = "a stream of items" if found.kind == "stream" else "the item"
    arguments = [None] if found.declared.setup is None else [None, None]
    try:
        signature.bind(*arguments)
    except TypeError as error:
        count = (
            f"one argument, {given},"
            if found.declared.setup is None
            else f"two arguments, {given} and what setup gave,"
        )
        raise TaskError(
            f"{place_of(found.function)}: {found.name!r} is called with {count} but it takes {signature}"
        ) from error


def _module_path(name: str, module_name: str, folder: Path) -> Path:
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise TaskError(f"the task {name!r} does not have the form module:function, as in `shop.prices:parse`")
    stem = folder.joinpath(*parts)
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if is_file(path):
            if not path.resolve().is_relative_to(folder):
                raise TaskError(
                    f"{path}, the file of {name!r}, is a link out of the tasks folder; copy the file itself there"
                )
            return path
    if not is_dir(folder):
        raise TaskError(
            f"the tasks folder {folder}, in which the task {name!r} should be, does not exist; "
            "create it, or set SHEAF_TASKS_DIR to the folder with the task's file"
        )
    raise TaskError(f"the task {name!r} needs the file {stem.with_suffix('.py')}, which does not exist")


def _import(name: str, module_name: str, path: Path, folder: Path, wanted: Mapping[str, str]) -> ModuleType:
    module_files.open_folder(folder)
    if not wanted or module_files.others(folder, wanted):
        # What a run was begun with, this process goes on with, whatever has become of the file.
        module_files.forget_changed(folder)
    module = _import_module(name, module_name, path, folder)
    others = module_files.others(folder, wanted)
    if others:
        raise TaskChanged(f"{folder / others[0]} has changed since the run was submitted")
    return module


def _import_module(name: str, module_name: str, path: Path, folder: Path) -> ModuleType:
    try:
        spec = importlib.util.find_spec(module_name)
        if spec is None:
            # Python takes what it cannot read for what is not there.
            unread = OSError(errno.EIO, "Python did not find the module though its file is there", str(path))
            raise TaskError(f"{name!r} cannot be imported: {unread}") from unread
        if spec.origin is None or Path(spec.origin).resolve() != path.resolve():
            raise TaskError(f"{path}, the file of {name!r}, has the same name as a module of Python; rename it")
        with importing(path):
            return importlib.import_module(module_name)
    except TaskError as error:
        if str(folder) in str(error):
            raise
        raise TaskError(f"{name!r} cannot be imported: {tracebacks.describe(error, folder)}") from error
    except SyntaxError as error:
        raise TaskError(f"{name!r} cannot be imported: {error.filename}:{error.lineno}: {error.msg}") from error
    except BaseException as error:
        raise TaskError(f"{name!r} cannot be imported: {tracebacks.describe(error, folder)}") from error


def _check_origin(name: str, path: Path, function: Callable[..., Any], folder: Path) -> None:
    """A name that the user's module has merely imported (`from os import system`) is not the user's function."""
    function = _unbound(function)
    # Of a wrapper the first is what it claims, the second is where it was written: either may be the user's.
    modules = (getattr(function, "__module__", None), getattr(function, "__globals__", {}).get("__name__"))
    origins = [getattr(sys.modules.get(str(home)), "__file__", None) for home in modules]
    if not any(origin is not None and Path(origin).is_relative_to(folder) for origin in origins):
        raise TaskError(
            f"{name!r} is not defined in {path}, which only imports it; "
            "workers run functions defined in the tasks folder: wrap it in one, with `def`"
        )


def _kind(name: str, function: Callable[..., Any], declared: TaskDeclaration) -> Kind:
    """Judge by what is called, never by what that may be wrapped around: a wrapper is there to be something else."""
    called = _called(function)
    if inspect.isasyncgenfunction(called):
        raise TaskError(
            f"{place_of(function)}: {name!r} is an async generator; write an async function, "
            "which is called once per item, or a generator function with @task(stream=True)"
        )
    if inspect.isgeneratorfunction(called):
        if declared.stream:
            return "stream"
        raise TaskError(
            f"{place_of(function)}: {name!r} is a generator function, which is for a stream of items; "
            "decorate it with @task(stream=True), or return a list"
        )
    is_async = inspect.iscoroutinefunction(called)
    if not declared.stream:
        return "async" if is_async else "function"
    if not is_async and hasattr(function, "__wrapped__"):
        return "stream"  # it may well give what the generator within gives; the first call tells
    raise TaskError(f"{place_of(function)}: {name!r} has stream={declared.stream!r}, but it is no generator function")


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when it is called: of an object, its class's `__call__`."""
    function = _unbound(function)
    is_object = not isinstance(function, type) and not inspect.isroutine(function)
    return _unbound(type(function).__call__) if is_object else function


def _unbound(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial | staticmethod):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    return function


def _declared(function: Callable[..., Any]) -> TaskDeclaration:
    """What was said of the function, or of what it calls."""
    own = declaration_of(function)
    return declaration_of(_called(function)) if own == TaskDeclaration() else own
