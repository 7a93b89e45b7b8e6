"""What is done to each item of a run, and within which limits: one value from the command line to the pool's child.

    @task, options ──► TaskDescription ──► RunRequest ──► Manifest (run.json) ──► TaskRun ──► the child's message
    Cluster.map    ──► CallTarget ─────────────────────►

Each of these holds a TaskSpec and none restates its fields, so a further option is one line: a field of TaskSpec, with
its default and its rule. run.json then has it, manifests that were written before it have the default, and every
process that works on the run finds it in `spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sheaf.run.field_rules import OBJECT, SECONDS_OR_NULL, TASK_NAME, TEXTS, whole

#: How often an item whose process dies is tried, if nothing else is said.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task with its options and limits. Everything in it is plain JSON."""

    #: `load`, `exec`, or the user's `module:function`.
    task: str = field(metadata=TASK_NAME)
    options: Mapping[str, Any] = field(default_factory=dict, metadata=OBJECT)
    #: Seconds after which a pool gives up on one item; None: never.
    item_timeout_s: float | None = field(default=None, metadata=SECONDS_OR_NULL)
    #: How often an item whose process died is tried.
    attempts: int = field(default=ATTEMPTS, metadata=whole(1, 2**31))
    #: MiB that a pool's child may weigh while it works on these items; 0: no limit.
    memory_mb: int = field(default=0, metadata=whole(0, 2**40))
    #: SHA-256 of the files under the tasks folder that the task is made of, by their path there.
    files: Mapping[str, str] = field(default_factory=dict, metadata=TEXTS)
