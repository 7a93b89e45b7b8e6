"""What workers have to know of each function that a program calls: asked once, and anew when a file changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from sheaf.client.session.stream import CallTarget
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks.description import describe
from sheaf.tasks.function.allowlist import find_registered, is_registered

#: Items that one child works on at once, of a function that says nothing else.
_CONCURRENCY = {"async": 100, "stream": 100}

#: A file's state: when it was written, its size, which file it is.
_State = tuple[int, int, int] | None


class Functions:
    """Thread-safe."""

    def __init__(self, tasks_dir: Path, modules: Sequence[str]) -> None:
        self._tasks_dir = tasks_dir
        self._modules = modules
        self._lock = threading.Lock()
        self._known: dict[tuple[str, bool], tuple[CallTarget, dict[Path, _State]]] = {}

    def target(self, task: str, *, is_call: bool) -> CallTarget:
        """Return what a stream of such calls asks for; the same object until one of the task's files changes.

        Raises TaskError if the task cannot be found, imported or called so.
        """
        with self._lock:
            target, files = self._known.get((task, is_call), (None, {}))
            if target is not None and all(_state(path) == state for path, state in files.items()):
                return target
            target, files = self._describe(task, is_call=is_call)
            self._known[task, is_call] = (target, files)
            return target

    def _describe(self, task: str, *, is_call: bool) -> tuple[CallTarget, dict[Path, _State]]:
        options = {"pass": "call" if is_call else "json", "echo": False}
        if is_registered(task.partition(":")[0], self._modules):
            # Harmless to import, so there is no need for a process of its own.
            find_registered(task, self._modules)
            return CallTarget(TaskSpec(task, options), is_call, 1), {}
        # The states before the answer: a file that changes meanwhile is asked for again.
        before = self._states()
        description = describe(task, self._tasks_dir, options, modules=self._modules)
        paths = [self._tasks_dir / name for name in description.spec.files]
        files = {path: before.get(path) for path in paths}
        return CallTarget(description.spec, is_call, _CONCURRENCY.get(description.kind, 1)), files

    def _states(self) -> Mapping[Path, _State]:
        return {path: _state(path) for path in self._tasks_dir.rglob("*.py")}


def _state(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
