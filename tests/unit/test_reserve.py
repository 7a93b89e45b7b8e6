"""Processes without a place: which is handed out, kept, ended, started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.reserve import FRESH, WARM, WARM_BYTES, WARM_S, Reserve
from tests.pool_child import RUN, make_child, make_ready, with_spec

OTHER = with_spec(RUN, task="other_tasks:act")._replace(run="run-2")
Make = Callable[..., ChildHandle]


@pytest.fixture
def make() -> Iterator[Make]:
    processes: list[Any] = []

    def made(task: Any = None, own_bytes: int = 0) -> ChildHandle:
        child, process = make_child()
        processes.append(process)
        process.own_bytes = own_bytes
        if task is None:
            child.started()
        else:
            make_ready(child, task)
        return child

    yield made
    for process in processes:
        process.close()


def test_one_that_has_the_module_comes_before_a_fresh_one(make: Make) -> None:
    reserve, fresh, warm = Reserve(), make(), make(RUN)
    reserve.add_fresh(fresh)
    assert reserve.keep(warm)
    assert reserve.has_module_of(RUN)
    assert not reserve.has_module_of(OTHER)

    assert reserve.take(RUN) is warm
    assert reserve.take(RUN) is fresh
    assert reserve.take(RUN) is None


def test_a_module_is_imported_where_nothing_was_done_before(make: Make) -> None:
    """Sheaf's own tasks leave no module, but what their items did may come again."""
    reserve, used, unused = Reserve(), make(), make()
    used.finished(1, 0.1)
    for child in (used, unused):
        reserve.add_fresh(child)
    assert reserve.take(RUN) is unused


def test_one_with_another_module_is_not_handed_out_and_one_that_starts_is(make: Make) -> None:
    reserve = Reserve()
    assert reserve.keep(make(OTHER))
    starting, process = make_child()
    reserve.add_fresh(starting)
    assert reserve.take(RUN) is starting
    process.close()


def test_what_is_busy_stateful_or_large_is_not_kept(make: Make) -> None:
    reserve = Reserve()
    stateful = make(RUN)
    stateful.serve(RUN)
    stateful.ready(0, 1, True, None)
    retiring = make(RUN)
    retiring.retire()
    assert [
        reserve.keep(child) for child in (stateful, retiring, make(RUN, WARM_BYTES + 1), make(RUN, WARM_BYTES))
    ] == [*(False, False, False, True)]


def test_the_oldest_go_when_there_are_too_many_and_each_after_its_time(make: Make) -> None:
    reserve = Reserve()
    children = [make(RUN) for _ in range(WARM + 2)]
    for child in children:
        assert reserve.keep(child)
    now = time.monotonic()
    assert set(reserve.evict(now)) == set(children[:2])
    assert reserve.evict(now) == []
    assert set(reserve.evict(now + WARM_S + 1)) == set(children[2:])
    assert not reserve.has_module_of(RUN)


def test_one_that_retires_counts_among_those_that_go(make: Make) -> None:
    """With one too many, and one that goes anyway, no other has to."""
    reserve = Reserve()
    children = [make(RUN) for _ in range(WARM + 1)]
    for child in children:
        assert reserve.keep(child)
    children[1].retire()
    assert reserve.evict(time.monotonic()) == [children[1]]


def test_fresh_ones_are_wanted_only_beside_children_with_modules(make: Make) -> None:
    reserve, children = Reserve(), [make(RUN), make(), make()]
    now = time.monotonic() + 100
    assert not reserve.wants(children[1:], now, idle=True)
    assert reserve.wants(children, now, idle=False)
    for _ in range(FRESH):
        reserve.add_fresh(make())
    assert not reserve.wants(children, now, idle=False)

    assert reserve.take_fresh() is not None
    assert not reserve.wants(children, time.monotonic(), idle=False), "one was just taken, and there is work"
    assert reserve.wants(children, time.monotonic(), idle=True)


def test_one_after_the_other_is_started(make: Make) -> None:
    reserve = Reserve()
    starting, process = make_child()
    reserve.add_fresh(starting)
    assert not reserve.wants([make(RUN), make(RUN)], time.monotonic() + 100, idle=True)
    reserve.drop(starting)
    assert reserve.wants([make(RUN), make(RUN)], time.monotonic() + 100, idle=True)
    process.close()
