"""The pool at work, with real processes: fair, streaming, bounded, and every item once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sheaf.run.items import Done, Failed, Item, Result, settled_count
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import TaskRun
from tests.integration.pool.helpers import ACT, MakePool, gather, items, turn_until, value
from tests.pool_child import with_spec


def test_every_item_has_one_result(make_pool: MakePool) -> None:
    """200,000 tiny items: each comes back once, with its own value; the order does not matter."""
    pool = make_pool(2)
    given = [Item(index, str(index)) for index in range(200_000)]
    for start in range(0, len(given), 1000):
        pool.add(TaskRun("run", TaskSpec("pool_tasks:echo"), "out.jsonl"), given[start : start + 1000])
    results = gather(pool, len(given), within_s=60)
    assert len(results) == len(given)
    assert all(value(result) == str(index) for index, result in results.items())
    assert (pool.waiting, pool.in_hand) == (0, 0)
    assert all(child.done > 0 for child in pool.children)


def test_a_child_imports_neither_redis_nor_rq(make_pool: MakePool) -> None:
    """A child starts fast and stays small."""
    pool = make_pool(1)
    pool.add(ACT, items("modules"))
    assert value(gather(pool, 1)[0]) == []


@pytest.mark.serial
def test_a_single_item_is_answered_at_once(make_pool: MakePool) -> None:
    """Nothing on an item's way through an idle pool sleeps, nor waits for a second one."""
    pool = make_pool(2)
    pool.add(ACT, items("a"))
    gather(pool, 1)
    taken_s = []
    for _ in range(50):
        started = time.monotonic()
        pool.add(ACT, items("a"))
        gather(pool, 1)
        taken_s.append(time.monotonic() - started)
    assert sorted(taken_s)[25] < 0.02


def test_a_slow_item_keeps_nothing_waiting_behind_it(make_pool: MakePool) -> None:
    """A child that was given 2,000 quick items meets a slow one: the other child gets what is behind it."""
    pool = make_pool(2)
    pool.add(ACT, items(*range(5000)))
    gather(pool, 5000)  # both are known to be fast now, and are given much ahead
    pool.add(ACT, items(*["x"] * 100, "sleep:1000", *["x"] * 3000))
    assert 100 not in gather(pool, 3100)


def test_what_is_finished_comes_out_while_the_next_item_runs(make_pool: MakePool) -> None:
    """A result does not wait for its successor."""
    pool = make_pool(1)
    pool.add(ACT, items(*range(100)))
    gather(pool, 100)
    pool.add(ACT, items("a", "b", "sleep:1000"))
    assert sorted(gather(pool, 2)) == [0, 1]


def test_a_large_result_passes_through_the_pipe(make_pool: MakePool) -> None:
    """100 MB in one record, while the parent never waits for it."""
    pool = make_pool(2)
    pool.add(ACT, items("big:100000000", *range(20)))
    results = gather(pool, 21, within_s=60)
    assert value(results[0]) == "x" * 100_000_000


def test_large_items_pass_through_the_pipe(make_pool: MakePool) -> None:
    """Items far larger than the pipe holds."""
    pool = make_pool(2)
    pool.add(ACT, items(*["length:" + "y" * 3_000_000] * 20))
    assert {value(result) for result in gather(pool, 20).values()} == {3_000_000}


def test_runs_take_turns(make_pool: MakePool) -> None:
    """A second run is served although the first one never runs dry, and both get all their results."""
    pool = make_pool(1)
    other = TaskRun("other", TaskSpec("pool_tasks:echo"), "out.jsonl")
    added, late, seen = 0, False, {"run": 0, "other": 0}
    deadline = time.monotonic() + 60
    while seen["other"] < 10:
        assert time.monotonic() < deadline, "the second run was starved"
        if added >= 100 and not late:
            late = True
            pool.add(other, items(*range(10)))
        while pool.waiting < 60:
            pool.add(ACT, [Item(added, "sleep:0.01")])
            added += 1
        for run, results in pool.poll(0.1):
            seen[run] += settled_count(results)
            assert not any(isinstance(result, Failed) for result in results)
    assert seen["run"] > 0


def test_pausing_keeps_results_with_the_children(make_pool: MakePool) -> None:
    """While the output cannot take more, nothing is read, and no item is charged for the wait."""
    pool = make_pool(2)
    pool.add(with_spec(ACT, item_timeout_s=1.0), items(*["big:1000000"] * 40))
    pool.paused = True
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert pool.poll(0.1) == []
    assert pool.waiting + pool.in_hand == 40
    pool.paused = False
    assert all(isinstance(result, Done) for result in gather(pool, 40).values())


def test_draining_returns_what_was_not_begun(make_pool: MakePool, tmp_path: Path) -> None:
    """After drain() only what a child has in its hands is still finished."""
    pool = make_pool(1)
    pool.add(ACT, items(*range(100)))
    gather(pool, 100)
    started = tmp_path / "started"
    pool.add(ACT, items(f"note:{started}", "sleep:1", *range(5000)))
    turn_until(pool, started.exists, results={})
    returned = pool.drain()
    results: dict[int, Result] = {}
    turn_until(pool, lambda: pool.in_hand == 0, results=results)
    assert set(returned) == {"run"}
    assert not set(returned["run"]) & set(results)
    assert len(results) < 4000


def test_forgotten_items_are_not_run(make_pool: MakePool) -> None:
    """A cancelled run's waiting items are dropped, and reported."""
    pool = make_pool(1)
    pool.add(ACT, items("sleep:0.3", *range(50)))
    pool.add(ACT._replace(run="other"), items("b"))
    dropped = pool.forget("run")
    assert len(dropped) == 51
    assert value(gather(pool, 1)[0]) == "b"
    assert pool.waiting + pool.in_hand == 0


def test_children_are_replaced_after_so_many_items(make_pool: MakePool) -> None:
    """`child_items`: no process serves more than that, and none counts as dead."""
    pool = make_pool(1, child_items=10)
    pool.add(ACT, items(*["pid"] * 35))
    pids = [value(result) for result in gather(pool, 35).values()]
    assert max(pids.count(pid) for pid in pids) == 10
    assert [child.deaths for child in pool.children] == [0]


def test_a_child_that_has_grown_is_replaced(make_pool: MakePool) -> None:
    """`child_memory_mb`: a child that needs more than that makes room for a fresh one."""
    pool = make_pool(1, child_memory_mb=1)
    pool.add(ACT, items("pid"))
    first = value(gather(pool, 1)[0])
    turn_until(pool, lambda: first not in [child.pid for child in pool.children])


def test_wake_ends_a_poll(make_pool: MakePool) -> None:
    """A signal handler can have the loop look at its flag at once."""
    pool = make_pool(1)
    pool.add(ACT, items("a"))
    gather(pool, 1)
    pool.wake()
    started = time.monotonic()
    pool.poll(60)
    assert time.monotonic() - started < 30
