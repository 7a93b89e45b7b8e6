"""Tasks: what is applied to each item. The built-in `load`, or the user's `module:function`.

A task runs inside a pool child, so finding one imports no more than it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from sheaf.batch import Item, Result
from sheaf.errors import TaskError
from sheaf.formats import Format

__all__ = ["Source", "Task", "resolve"]


class Source(Protocol):
    """Where a task gets its items from, one at a time, as it has room for them."""

    def take(self, wait_s: float) -> Item | None:
        """Return the next item, or None if none comes within `wait_s` (0: do not wait)."""

    @property
    def closed(self) -> bool:
        """True once nothing will ever come again: end when your hands are empty."""


class Task(Protocol):
    """Turns items into results. One object may serve several runs, one after another."""

    def window(self, options: Mapping[str, Any]) -> int:
        """Return how many items one child wants outstanding (0: let the pool adapt)."""

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        """Yield one result per item taken, in any order; None is an idle turn, in which results may be sent off.

        Ends when the source is closed and every item taken has its result. Raises TaskError for options it cannot use.
        """


def resolve(name: str, tasks_dir: Path | None) -> Task:
    """Find a task by name: `load`, or `module:function` in a file under `tasks_dir`.

    Raises TaskError, which names file and line where there is one; nothing outside `tasks_dir` is ever imported.
    """
    if name == "load":
        from sheaf.tasks.load.task import LoadTask

        return LoadTask()
    if ":" not in name:
        raise TaskError(f"no task is called {name!r}; it is `load`, or `module:function` of a file in the tasks folder")
    if tasks_dir is None:
        raise TaskError(
            f"there is no tasks folder to find {name!r} in; set SHEAF_TASKS_DIR to the folder that holds its file"
        )
    from sheaf.tasks.function import find_function

    return find_function(name, tasks_dir)
