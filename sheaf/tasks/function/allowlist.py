"""Library functions that workers run without a file of the user's: harmless ones, and configured modules.

What a run may name comes from Redis and the volume, so this list is the whole of what can be called from there.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from sheaf.core.errors import TaskError

#: Modules of which every public function is harmless: on plain values they compute, and do nothing else.
_WHOLE_MODULES = ("math", "operator")
#: The harmless ones of other modules. Never eval, exec, compile, open, __import__, getattr, input, breakpoint, …
_HARMLESS = {
    "builtins": "abs all any ascii bin bool bytes chr dict divmod float format frozenset hash hex int len list max min "
    "oct ord pow print range repr reversed round set sorted str sum tuple zip",
    "time": "sleep time",
}
_FUNCTIONS = {module: frozenset(names.split()) for module, names in _HARMLESS.items()}


def is_registered(module_name: str, modules: Sequence[str]) -> bool:
    """Whether functions of that module are run although its file is not in the tasks folder."""
    return module_name in _WHOLE_MODULES or module_name in _FUNCTIONS or module_name in modules


def find_registered(name: str, modules: Sequence[str]) -> Callable[..., Any]:
    """Return the library function that a task's name names. Raises TaskError if it is not one of those allowed."""
    module_name, _, function_name = name.partition(":")
    allowed = _FUNCTIONS.get(module_name)
    if module_name not in modules and allowed is not None and function_name not in allowed:
        raise TaskError(
            f"{name!r} is not allowed: workers run only the harmless functions of {module_name!r}; "
            "wrap it in your own function in the tasks folder"
        )
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:
        raise TaskError(
            f"the module {module_name!r}, named in SHEAF_TASK_MODULES, cannot be imported: "
            f"{type(error).__name__}: {error}; add its package to requirements/extra.txt"
        ) from error
    function = getattr(module, function_name, None)
    public = function_name in getattr(module, "__all__", [function_name]) and not function_name.startswith("_")
    if not public or not callable(function) or inspect.ismodule(function):
        raise TaskError(f"the module {module_name!r} has no public function {function_name!r}, named by {name!r}")
    found: Callable[..., Any] = function
    return found
