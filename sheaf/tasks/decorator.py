"""`@sheaf.task`: what a function's author says about how it is to be run. The function itself stays as it is."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, overload

from sheaf.core.errors import TaskError

#: Where a decorated function keeps what its decorator says.
_ATTRIBUTE = "__sheaf_task__"
#: The options of a run that take the place of what the decorator says.
OVERRIDES = ("timeout_s", "attempts", "backoff_s", "memory_mb", "concurrency")
#: Items that one child may have in flight: no more than it has slots for (`sheaf_worker.wire.slots`).
MOST_CONCURRENT = 1000

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class TaskDeclaration:
    """The decorator's arguments. None: not said."""

    #: Seconds that one attempt at one item may take.
    timeout_s: float | None = None
    #: How often an item is tried that raises, or whose process dies.
    attempts: int | None = None
    #: Seconds before the second attempt; doubled before each further one.
    backoff_s: float = 1.0
    #: MiB that a child may weigh: beyond, it is killed with the item it works on.
    memory_mb: int = 0
    #: The suffix of the output, if none is named.
    output: str = ".jsonl"
    #: Called once per child; what it gives is the function's second argument.
    setup: Callable[[], Any] | None = None
    #: Items of one child in flight at once: of an async function, or ahead of a stream.
    concurrency: int = 100
    #: The function is a generator over a stream of items; "pairs": it yields (item, value), in any order.
    stream: bool | str = False

    def with_options(self, options: Mapping[str, Any]) -> TaskDeclaration:
        """Apply what a run's options say instead. Raises TaskError for a value that cannot be used."""
        changes = {name: options[name] for name in OVERRIDES if options.get(name) is not None}
        return replace(self, **changes).checked("the run's options") if changes else self

    def checked(self, where: str) -> TaskDeclaration:
        """Return the declaration itself. Raises TaskError that names the argument for a value that cannot be used."""
        for name, ok, wanted in (
            ("timeout_s", self.timeout_s is None or _positive(self.timeout_s), "a number of seconds greater than 0"),
            ("attempts", self.attempts is None or _whole(self.attempts, 1), "a whole number of at least 1"),
            ("backoff_s", self.backoff_s == 0 or _positive(self.backoff_s), "a number of seconds of at least 0"),
            ("memory_mb", _whole(self.memory_mb, 0), "a whole number of MiB; 0: no limit"),
            ("output", isinstance(self.output, str) and self.output.startswith("."), "a suffix, such as '.jsonl'"),
            ("setup", self.setup is None or callable(self.setup), "a function without arguments"),
            (
                "concurrency",
                _whole(self.concurrency, 1) and self.concurrency <= MOST_CONCURRENT,
                f"a whole number from 1 to {MOST_CONCURRENT}",
            ),
            ("stream", self.stream in (False, True, "pairs"), "True, or 'pairs'"),
        ):
            if not ok:
                raise TaskError(f"{where}: {name}={getattr(self, name)!r} is not valid; give {wanted}")
        return self


@overload
def task(function: F, /) -> F: ...


@overload
def task(
    *,
    timeout_s: float | None = None,
    attempts: int | None = None,
    backoff_s: float = 1.0,
    memory_mb: int = 0,
    output: str = ".jsonl",
    setup: Callable[[], Any] | None = None,
    concurrency: int = 100,
    stream: bool | str = False,
) -> Callable[[F], F]: ...


def task(function: F | None = None, /, **arguments: Any) -> F | Callable[[F], F]:
    """Say how a function is to be run: `@task`, or `@task(timeout_s=10, attempts=3)`. docs/tasks.md has all of it.

    The function stays directly callable. Raises TaskError that names file and line for arguments that cannot be used.
    """

    def mark(function: F) -> F:
        where = place_of(function)
        unknown = sorted(set(arguments) - {field.name for field in fields(TaskDeclaration)})
        if unknown:
            names = ", ".join(field.name for field in fields(TaskDeclaration))
            raise TaskError(f"{where}: @task has no argument {unknown[0]!r}; its arguments are {names}")
        declared = TaskDeclaration(**arguments).checked(f"{where}: @task")
        try:
            setattr(function, _ATTRIBUTE, declared)
        except AttributeError as error:
            raise TaskError(
                f"{where}: {function!r} is written in C and cannot be decorated; wrap it in a function of your own"
            ) from error
        return function

    return mark if function is None else mark(function)


def declaration_of(function: Callable[..., Any]) -> TaskDeclaration:
    """What the function's decorator says; for one without, what holds for all."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, TaskDeclaration) else TaskDeclaration()


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is defined, as file:line; its name, if that is unknown."""
    parts: tuple[Any, ...] = (function, getattr(function, "func", None), type(function).__call__)
    for part in parts:
        try:
            code = getattr(inspect.unwrap(part), "__code__", None)
        except ValueError:
            continue  # it is wrapped around itself
        if code is not None:
            break
    else:
        return str(getattr(function, "__name__", function))
    return f"{code.co_filename}:{code.co_firstlineno}"


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
