"""A pool and the versions of a task: no child does an item with another version than the run's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import TaskRun
from tests.integration.pool.helpers import MakePool, gather, items, turn_until, value

SOURCE = "def f(text):\n    return {answer}\n"


def program(run: str, source: str) -> TaskRun:
    return TaskRun(
        run, TaskSpec("versed:f", files={"versed.py": hashlib.sha256(source.encode()).hexdigest()}), "out.jsonl"
    )


def test_a_run_of_another_version_is_let_go_of_without_a_failure(make_pool: MakePool, tasks_dir: Path) -> None:
    """Its items give no result, the worker learns which run it is; the children serve the next run."""
    one, two = SOURCE.format(answer=1), SOURCE.format(answer=2)
    (tasks_dir / "versed.py").write_text(two)
    pool = make_pool(2)
    pool.add(program("old", one), items(*range(100)))

    turn_until(pool, lambda: pool.changed.qsize() > 0 and pool.waiting == pool.in_hand == 0)

    assert pool.changed.get() == "old"
    pool.add(program("new", two), items("a", "b"))
    assert [value(result) for result in gather(pool, 2).values()] == [2, 2]


def test_a_run_that_goes_on_with_another_version_is_done_by_that(make_pool: MakePool, tasks_dir: Path) -> None:
    """The children that have the earlier one imported take the file anew, for the same run."""
    one, two = SOURCE.format(answer=1), SOURCE.format(answer=2)
    (tasks_dir / "versed.py").write_text(one)
    pool = make_pool(1)
    pool.add(program("run", one), items("a"))
    first = gather(pool, 1)
    (tasks_dir / "versed.py").write_text(two)
    pool.add(program("run", one), items("a"))
    still = gather(pool, 1)
    pool.add(program("run", two), items("a"))

    assert [value(results[0]) for results in (first, still, gather(pool, 1))] == [1, 1, 2]
