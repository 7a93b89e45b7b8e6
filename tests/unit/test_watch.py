"""Which children the watchdog kills, and which it leaves alone. Its time is only counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_process import ChildProcess
from sheaf_worker.pool.watchdog import Watchdog
from tests.pool_child import RUN, block, kinds, make_child, make_ready, with_spec

MIB = 1 << 20


@pytest.fixture
def pair() -> Iterator[tuple[ChildHandle, Any]]:
    child, process = make_child()
    yield child, process
    process.close()


def watch(child: ChildHandle, seconds: float, *, memory_mb: int = 0, watch_items: bool = True) -> Watchdog:
    """Check the child once a second, from now on."""
    watchdog = Watchdog(memory_mb)
    for second in range(int(seconds) + 1):
        watchdog.check([child], child.state_since + second, watch_items=watch_items)
    return watchdog


@pytest.mark.parametrize(
    ("since_s", "starved_s", "killed"), [(55, 0, False), (65, 0, True), (65, 4, True), (65, 30, False), (95, 30, True)]
)
def test_time_without_a_processor_is_not_held_against_it(
    pair: tuple[ChildHandle, Any], since_s: float, starved_s: float, killed: bool
) -> None:
    """On a machine with far too much to do it would be killed and started anew for ever."""
    child, process = pair
    process.starved = starved_s
    watch(child, since_s)
    assert child.killed == ("unresponsive" if killed else None)


def test_the_kernel_tells_how_long_that_was() -> None:
    """Of a process that runs; of one that has ended, nothing."""
    assert 0.0 <= ChildProcess.starved_s(SimpleNamespace(pid=os.getpid())) < 1e6  # type: ignore[arg-type]
    assert ChildProcess.starved_s(SimpleNamespace(pid=2**22 + 1)) == 0.0  # type: ignore[arg-type]


def test_the_time_in_which_the_worker_itself_was_stopped_does_not_count(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    watchdog = watch(child, 1)
    watchdog.check([child], child.state_since + 500, watch_items=True)
    watchdog.check([child], child.state_since + 501, watch_items=True)
    assert child.killed is None


@pytest.mark.parametrize(("seconds", "killed"), [(599, None), (601, "unresponsive")])
def test_an_import_may_take_ten_minutes(pair: tuple[ChildHandle, Any], seconds: int, killed: str | None) -> None:
    child, _ = pair
    child.started()
    child.serve(RUN)
    watch(child, seconds)
    assert child.killed == killed


def test_one_that_does_not_end_when_asked_to_is_killed(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    child.end()
    watch(child, 4)
    assert child.killed is None
    watch(child, 6)
    assert child.killed == "unresponsive"


def test_a_closed_pipe_without_an_end_of_the_process(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    make_ready(child)
    child.pipe_closed()
    watch(child, 0)
    assert child.killed is None
    watch(child, 1)
    assert child.killed == "broken pipe"


def test_an_item_that_is_out_of_time(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child, with_spec(RUN, item_timeout_s=3))
    child.give(block(1))
    process.writer.begin(1)
    watch(child, 2)
    assert child.killed is None
    watch(child, 60, watch_items=False)
    assert child.killed is None, "while results are not read, nothing can be finished"
    watch(child, 5)
    assert child.killed == "timed out"


def test_a_slow_item_without_a_limit_is_left_alone(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child)
    child.give(block(1, 2))
    process.writer.begin(1)
    watch(child, 5000)
    assert child.killed is None


def test_one_that_has_items_and_begins_none_is_asked_for_them_and_killed_if_it_does_not_answer(
    pair: tuple[ChildHandle, Any],
) -> None:
    child, process = pair
    make_ready(child)
    child.give(block(1))
    watch(child, 4)
    assert child.recalled_at is None
    watch(child, 7)
    assert kinds(process.theirs)[-1] == "recall"
    assert child.killed is None
    watch(child, 12)
    assert child.killed == "unresponsive"


def test_one_that_returns_nothing_twice_has_lost_what_it_was_given(pair: tuple[ChildHandle, Any]) -> None:
    child, _ = pair
    make_ready(child)
    child.give(block(1))
    child.recall_answered([])
    watch(child, 1)
    assert child.killed is None
    child.recall_answered([])
    watch(child, 1)
    assert child.killed == "unresponsive"


def test_the_rest_of_a_forgotten_run_gets_a_moment(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child)
    child.give(block(1))
    process.writer.begin(1)
    child.forget_run()
    watch(child, 0)
    assert child.killed is None
    watch(child, 2)
    assert child.killed == "its run is forgotten"


@pytest.mark.parametrize(
    ("mib", "done", "in_hand", "retiring", "killed"),
    [
        (100, 1, True, False, None),
        (300, 1, False, True, None),
        (300, 0, False, False, None),
        (300, 1, True, True, None),
        (500, 1, True, True, "too large"),
        (500, 1, False, True, None),
    ],
)
def test_a_large_one_is_replaced_when_idle_and_killed_beyond_twice_the_limit(
    pair: tuple[ChildHandle, Any], mib: int, done: int, in_hand: bool, retiring: bool, killed: str | None
) -> None:
    child, process = pair
    make_ready(child)
    child.give(block(1))
    if done:
        child.finished(done, 0.1)
    if in_hand:
        process.writer.begin(1)
    process.own_bytes = mib * MIB
    watch(child, 0, memory_mb=200)
    assert (child.retiring, child.killed) == (retiring, killed)


def test_the_limit_of_a_task_is_met_at_once(pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    make_ready(child, with_spec(RUN, memory_mb=50))
    child.give(block(1))
    process.own_bytes = 60 * MIB
    watch(child, 0)
    assert child.killed is None, "it has no item in hand that could be the cause"
    process.writer.begin(1)
    watch(child, 0)
    assert child.killed == "over its task's limit"
