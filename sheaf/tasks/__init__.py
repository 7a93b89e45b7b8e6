"""Tasks: what is applied to each item. The built-in `load`, or the user's `module:function`.

A task runs inside a pool child, so finding one imports no more than it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from sheaf.core.errors import TaskError, TaskForbidden
from sheaf.formats import Format
from sheaf.run.items import Failed, Item, Result
from sheaf.tasks.description import TaskDescription, describe

__all__ = ["Source", "Task", "TaskDescription", "check_allowed", "describe", "resolve"]


#: An item in its barest form: index and text; of a run over a range of numbers, the number itself.
Pair = tuple[int, str | int]
#: Does an item: returns its record, or its failure.
Step = Callable[[Pair], bytes | Failed]


class Source(Protocol):
    """Where a task gets its items from, one at a time, as it has room for them."""

    def take(self, wait_s: float) -> Item | None:
        """Return the next item, or None if none comes within `wait_s` (0: do not wait)."""

    def wait(self, wait_s: float) -> None:
        """Wait until items have come, or nothing ever will, but no longer than `wait_s`."""

    def do_all(self, step: Step) -> None:
        """Apply `step` to every item that is here, one after the other; what it returns is the item's result."""

    def postpone(self, index: int, wait_s: float) -> None:
        """Have the time of an item that was taken begin in `wait_s` seconds: it waits for its next try."""

    def hold(self, index: int) -> None:
        """Put aside an item that was taken: its time stops, it is not to blame, another may come in its place."""

    def resume(self, index: int) -> None:
        """Take up one that was put aside: its time begins anew."""

    def settle(self, results: Sequence[Result]) -> None:
        """Hand over results from within the task, as if it had yielded them."""

    @property
    def closed(self) -> bool:
        """True once nothing will ever come again: end when your hands are empty."""


class Task(Protocol):
    """Turns items into results. One object may serve several runs, one after another.

    One that has several items in progress at once says how many in an attribute `at_once`, set by window(); one that
    decides something by itself tells of it in an attribute `choices`; one that leaves something open in its process, in
    `keeps`.
    """

    def window(self, options: Mapping[str, Any]) -> int:
        """Get ready for a run with these options; return how many items a child wants outstanding (0: the pool adapts).

        Called before run(), and not counted as an item's time. Raises TaskError for options it cannot use.
        """

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        """Yield one result per item taken, in any order; None is an idle turn, in which results may be sent off.

        Ends when the source is closed and every item taken has its result. Raises TaskError for options it cannot use.
        """


def limited(
    name: str,
    options: Mapping[str, Any],
    allow_net_most: Sequence[str],
    ca_bundle: Path | None = None,
    ca_folder: Path | None = None,
) -> Mapping[str, Any]:
    """The options as this worker takes them: what its operator has said stands above what a run says."""
    if name != "load":
        return options
    places = {"ca_bundle": ca_bundle, "ca_folder": ca_folder}
    return {
        **options,
        "allow_net_most": list(allow_net_most),
        **{name: str(path.absolute()) if path else "" for name, path in places.items()},
    }


def check_allowed(name: str, allow_exec: bool | None) -> None:
    """Raise TaskForbidden for `exec`, which runs any command, unless this worker was told to allow it."""
    if name == "exec" and not allow_exec:
        raise TaskForbidden(
            "this worker runs no commands, so it leaves `sheaf exec` alone; if whoever can submit here may run "
            "anything in it, start it with SHEAF_ALLOW_EXEC=1"
        )


def resolve(
    name: str, tasks_dir: Path | None, modules: Sequence[str] = (), files: Mapping[str, str] = MappingProxyType({})
) -> Task:
    """Find a task by name: `load`, `exec`, `module:function` in a file under `tasks_dir`, or a registered function.

    `modules` are those of SHEAF_TASK_MODULES, `files` the digests that the run has of the task's files.
    Raises TaskError, which names file and line where there is one; TaskChanged if the files are others; and whatever
    the system refuses (`transient_errors.py`).
    """
    if name == "load":
        from sheaf.tasks.load.task import LoadTask

        return LoadTask()
    if name == "exec":
        from sheaf.tasks.exec.task import ExecTask

        return ExecTask()
    if ":" not in name:
        raise TaskError(f"no task is called {name!r}; it is `load`, or `module:function` of a file in the tasks folder")
    from sheaf.tasks.function.finder import find
    from sheaf.tasks.function.task import FunctionTask

    return FunctionTask(find(name, tasks_dir, modules, files))
