"""Processes that a task forks, also in threads and twice: they live as long as the task's process, and no longer."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import TaskRun
from tests.integration.pool.helpers import MakePool, alive, gather, items, turn_until, value

ANSWER = TaskRun("answers", TaskSpec("copying_tasks:answer"), "r.jsonl")
LEAVE = TaskRun("leaves", TaskSpec("copying_tasks:leave", attempts=1), "r.jsonl")


@pytest.fixture(autouse=True)
def _copying_tasks(tasks_dir: Path) -> None:
    shutil.copy(Path(__file__).with_name("copying_tasks.py"), tasks_dir)


def test_what_a_thread_forks_outlives_the_thread(make_pool: MakePool) -> None:
    """As in plain Python: a process, a command with a function of its own, an executor first used in a thread.

    A signal interrupts what the copy itself waits for: of its two threads, ours takes none.
    """
    pool = make_pool(1)
    pool.add(ANSWER, items("process", "popen", "executor", "alarm", "signals"))

    results = gather(pool, 5)

    assert [value(results[index]) for index in range(5)] == [0, 0, 16, 7, 21]


@pytest.mark.parametrize("how", ["go", "die"])
def test_what_a_task_forks_ends_with_its_process(make_pool: MakePool, tmp_path: Path, how: str) -> None:
    """Whatever has forked it, also twice, and also in a session of its own with nothing left open; and not before."""
    pool = make_pool(1)
    pool.add(LEAVE, items(f"{tmp_path}/left {how}"))
    gather(pool, 1)
    left = [int(path.suffix[1:]) for path in tmp_path.glob("left.*")]
    assert len(left) == 4
    if how == "go":
        time.sleep(0.5)
        assert all(map(alive, left)), "they go on beside the next items"
        os.kill(pool.children[0].pid, 9)
    turn_until(pool, lambda: not any(map(alive, left)))
