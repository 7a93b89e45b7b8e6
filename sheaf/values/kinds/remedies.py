"""Why an object cannot be sent, and what to do instead."""

from __future__ import annotations

import sys
from typing import Any

#: By prefix of `module.name`; the first match counts.
_INSTEAD: tuple[tuple[str, str], ...] = (
    ("_thread.", "a lock of one process; use that of `sheaf.multiprocessing`"),
    ("threading.", "it belongs to one process; use what `sheaf.multiprocessing` has of that name"),
    ("queue.", "a queue of one process; use `sheaf.multiprocessing.Queue()`"),
    ("_queue.", "a queue of one process; use `sheaf.multiprocessing.Queue()`"),
    ("multiprocessing.", "it belongs to one machine; use what `sheaf.multiprocessing` has of that name"),
    ("_multiprocessing.", "it belongs to one machine; use what `sheaf.multiprocessing` has of that name"),
    ("concurrent.futures.", "it belongs to one process; send its result"),
    ("asyncio.", "it belongs to one process's event loop; send its result"),
    ("_asyncio.", "it belongs to one process's event loop; send its result"),
    ("_io.", "an open file; send its name, and open it where it is used"),
    ("tempfile.", "an open file; send its name, and open it where it is used"),
    ("socket.", "an open connection; open it in the function that uses it, or in an initializer"),
    ("_socket.", "an open connection; open it in the function that uses it, or in an initializer"),
    ("ssl.", "an open connection; open it in the function that uses it, or in an initializer"),
    ("sqlite3.", "an open database; open it in the function that uses it, or in an initializer"),
    ("redis.", "an open connection; open it in the function that uses it, or in an initializer"),
    ("builtins.generator", "send `list(…)` of it"),
    ("builtins.coroutine", "await it, and send the result"),
    ("builtins.async_generator", "send a list of its results"),
    ("builtins.dict_", "send `list(…)` of it"),
    ("builtins.module", "import it in the function that uses it"),
    ("builtins.frame", "send its values"),
    ("builtins.traceback", "send `traceback.format_exception(…)`, which is text"),
    ("builtins.code", "write a function in a module, and send that"),
    ("builtins.weakref", "send the object"),
    ("weakref.", "send the object, or a dict of the objects"),
    ("builtins.map", "send `list(…)` of it"),
    ("builtins.filter", "send `list(…)` of it"),
    ("builtins.zip", "send `list(…)` of it"),
    ("builtins.enumerate", "send `list(…)` of it"),
    ("builtins.reversed", "send `list(…)` of it"),
    ("itertools.", "send `list(…)` of it"),
    ("_csv.", "send `list(…)` of its rows"),
    ("numpy.random.", "send a seed, and create the generator where it is used"),
    ("numpy.ma.", "send its data and its mask"),
    ("numpy.", "send `numpy.asarray(…)` of it"),
    ("ctypes.", "memory of one process; send `bytes(…)` of it"),
    ("_ctypes.", "memory of one process; send `bytes(…)` of it"),
    ("mmap.", "memory of one process; send the file's name"),
    ("contextvars.", "send its value"),
    ("_contextvars.", "send its value"),
    ("typing.", "send the class"),
    ("types.GenericAlias", "send the class"),
    ("subprocess.", "a process of one machine; send its output"),
    ("logging.", "get it by its name where it is used: `logging.getLogger(…)`"),
    ("torch.", "send `.numpy()` of it, or save it and send the file's name"),
    ("PIL.", "send `numpy.asarray(…)` of it, or the file's name"),
)


def article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def full_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def of_object(kind: type) -> str:
    """Explain why an object cannot be sent, from its class."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    instead = next((remedy for start, remedy in _INSTEAD if name.startswith(start)), None)
    refusal = f"{article(full_name(kind))} cannot be sent"
    if instead is not None:
        return f"{refusal}: {instead}"
    if kind.__qualname__.endswith("_iterator") or hasattr(kind, "__next__"):
        return f"{refusal}: send `list(…)` of it"
    return f"{refusal}: {_why_not(kind)}"


def of_class(kind: type) -> str:
    return f"the class {full_name(kind)} cannot be sent: {_why_not(kind)}"


def of_function(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    module = getattr(function, "__module__", None)
    if "<lambda>" in name:
        return (
            "a lambda cannot be sent, because no other process can find it; write a `def` at the top level of a module"
        )
    if "<locals>" in name:
        return (
            f"the function {name!r} cannot be sent, because it was defined inside another one; move it to the top "
            "level of its module, and pass what it needs as arguments (functools.partial does that)"
        )
    if module in sys.stdlib_module_names or module is None or getattr(function, "__self__", None) is not None:
        return (
            f"the function {module or 'builtins'}.{name} cannot be sent: of the library's functions, only those that "
            "merely compute can; call it in a function of your own"
        )
    return (
        f"the function {module}.{name} cannot be sent: {module!r} is not one of the program's own modules, or has "
        "another function of that name; call it in a function of your own, at the top level of a module"
    )


def _why_not(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        return (
            "it was defined inside a function, so no other process can find it; move it to the top level of its module"
        )
    return (
        f"{kind.__module__!r} is not one of the program's own modules, or has another class of that name; send its "
        "contents as plain values (in a dict, say), or create it where it is used"
    )
