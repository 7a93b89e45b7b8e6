"""What the pool's tests share: sending items, collecting results, inspecting processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from sheaf.run.items import Done, Failed, Item, Result, single_results
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import Pool, TaskRun

MakePool = Callable[..., Pool]
ACT = TaskRun("run", TaskSpec("pool_tasks:act"), "out.jsonl")


def items(*texts: object) -> list[Item]:
    return [Item(index, str(text)) for index, text in enumerate(texts)]


def gather(pool: Pool, count: int, within_s: float = 60) -> dict[int, Result]:
    """Poll until this many results are here; none may come twice."""
    results: dict[int, Result] = {}
    turn_until(pool, lambda: len(results) >= count, within_s, results)
    return results


def turn_until(
    pool: Pool, condition: Callable[[], bool], within_s: float = 60, results: dict[int, Result] | None = None
) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{results}, waiting {pool.waiting}, children {pool.children}"
        started = time.monotonic()
        for _, finished in pool.poll(0.1):
            for result in single_results(finished):
                assert results is not None and result.index not in results, result
                results[result.index] = result
        # An item that holds the parent up does so for ever, or for as long as tasks here sleep: 1000 s.
        assert time.monotonic() - started < 20, "the pool was held up"


def value(result: Result) -> object:
    assert isinstance(result, Done), result
    return json.loads(result.record)["value"]


def failure(result: Result) -> Failed:
    assert isinstance(result, Failed), result
    return result


def alive(pid: int) -> bool:
    """Whether the process runs (one that has ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
