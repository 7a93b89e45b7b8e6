"""What a run's manifest has to know of its task, asked of the task's own module without importing it here.

The user's module is imported by a process of its own (`python -m sheaf.tasks`), so that whatever it does on import
(prints, threads, gigabytes, sys.exit) ends with that process and not with the producer.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheaf.core.errors import TaskError
from sheaf.run.task_spec import ATTEMPTS, TaskSpec

#: Seconds that the import of a task's module may take.
IMPORT_S = 60.0
BUILT_IN = ("load", "exec")


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """What a task is, its decorator and the run's options taken together."""

    #: For the run's manifest.
    spec: TaskSpec
    #: "builtin", "function", "async" or "stream".
    kind: str
    #: The suffix of the output, if none is named.
    output: str = ".jsonl"


def describe(
    name: str,
    tasks_dir: Path | None,
    options: Mapping[str, Any] | None = None,
    *,
    modules: Sequence[str] = (),
    within_s: float = IMPORT_S,
) -> TaskDescription:
    """Describe a task for its submission. `options` are the run's, `modules` those of SHEAF_TASK_MODULES.

    Raises TaskError if it cannot be found, imported or called so; the message names file and line.
    """
    if name in BUILT_IN:
        return TaskDescription(TaskSpec(name, options or {}), "builtin")
    if ":" not in name:
        raise TaskError(
            f"there is no task {name!r}; a task is `load`, or `module:function` from a file in the tasks folder"
        )
    folder = None if tasks_dir is None else str(tasks_dir.resolve())
    question = json.dumps({"name": name, "folder": folder, "options": options or {}, "modules": list(modules)})
    answer = _ask(name, question, within_s)
    if "error" in answer:
        raise TaskError(answer["error"])
    return TaskDescription(TaskSpec(**answer.pop("spec")), **answer)


def _ask(name: str, question: str, within_s: float) -> dict[str, Any]:
    import subprocess  # not for a pool's child, which imports this module, too

    # -P: what is in the current folder is not what a worker would import.
    command = [sys.executable, "-P", "-m", "sheaf.tasks"]
    try:
        done = subprocess.run(
            command,
            input=question,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TaskError(
            f"{name!r} cannot be imported within {within_s:g} s; move what takes long to `setup`, "
            "which runs in the workers"
        ) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TaskError(
            f"{name!r} cannot be imported: the importing process ended with status {done.returncode}: {last}"
        ) from error
    return answer


def answer(question: str) -> str:
    """Describe the task that the question names, in this process. Returns JSON."""
    from sheaf.tasks.transient_errors import again_if_passing

    return again_if_passing(lambda: _answer(json.loads(question)))


def _answer(asked: dict[str, Any]) -> str:
    from sheaf.formats import format_for
    from sheaf.tasks import module_files
    from sheaf.tasks.function.calls import check_way
    from sheaf.tasks.function.finder import check_signature, find

    folder = None if asked["folder"] is None else Path(asked["folder"])
    found = find(asked["name"], folder, asked["modules"])
    way = check_way(asked["options"])
    check_signature(found, way)
    declared = found.declared.with_options(asked["options"])
    format_for(f"results{declared.output}")
    spec = TaskSpec(
        task=asked["name"],
        options=asked["options"],
        item_timeout_s=pool_timeout_s(declared.timeout_s, found.kind),
        attempts=declared.attempts or ATTEMPTS,
        memory_mb=declared.memory_mb,
        files={} if found.folder is None else module_files.imported(found.folder),
    )
    return json.dumps(dataclasses.asdict(TaskDescription(spec, found.kind, declared.output)))


def pool_timeout_s(timeout_s: float | None, kind: str) -> float | None:
    """When the pool ends a child: an async item is first given the chance to end itself, alone."""
    return timeout_s if timeout_s is None or kind != "async" else timeout_s + max(2.0, timeout_s / 10)
