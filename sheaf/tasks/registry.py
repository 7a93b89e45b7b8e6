"""From a task's name to the task, and whether this worker may run it.

A task runs inside a pool child, so finding one imports no more than it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sheaf.core.errors import TaskError, TaskForbidden
from sheaf.tasks.protocol import Task


def limited(
    name: str,
    options: Mapping[str, Any],
    allow_net_most: Sequence[str],
    ca_bundle: Path | None = None,
    ca_folder: Path | None = None,
) -> Mapping[str, Any]:
    """The options as this worker takes them: what its operator has set takes precedence over the run."""
    if name != "load":
        return options
    places = {"ca_bundle": ca_bundle, "ca_folder": ca_folder}
    return {
        **options,
        "allow_net_most": list(allow_net_most),
        **{name: str(path.absolute()) if path else "" for name, path in places.items()},
    }


def check_allowed(name: str, allow_exec: bool | None) -> None:
    """Raise TaskForbidden for `exec`, which runs any command, unless this worker is set up to allow it."""
    if name == "exec" and not allow_exec:
        raise TaskForbidden(
            "this worker does not run commands, and so not `sheaf exec`; if any user who can submit here may run "
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
        raise TaskError(
            f"there is no task {name!r}; a task is `load`, or `module:function` from a file in the tasks folder"
        )
    from sheaf.tasks.function.finder import find
    from sheaf.tasks.function.task import FunctionTask

    return FunctionTask(find(name, tasks_dir, modules, files))
