"""What becomes of a dead child's items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from sheaf.run.items import Failed
from sheaf_worker.pool.backlog import Backlog
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.quarantine import BROKEN_PIPE, TIMED_OUT, TOO_LARGE, Quarantine, Verdict
from sheaf_worker.wire.exit_codes import FILES_USED_UP, PIPE_LOST
from tests.pool_child import RUN, block, make_child, make_ready, with_spec

SEGFAULT = -11


class Ward:
    """A quarantine, and one child after another that dies in it."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.failed: list[Failed] = []
        self.quarantine = Quarantine(self.backlog, self._report)
        self._processes: list[Any] = []

    def _report(self, run: str, failed: Iterable[Failed]) -> None:
        assert run == RUN.run
        self.failed += failed

    def child(self, *indexes: int, done: int = 0, timeout_s: float | None = None, attempts: int = 3) -> ChildHandle:
        child, process = make_child()
        self._processes.append(process)
        make_ready(child, with_spec(RUN, item_timeout_s=timeout_s, attempts=attempts))
        if done:
            child.finished(done, 0.1)
        child.give(block(*indexes))
        return child

    @property
    def waiting(self) -> list[int]:
        return [index for each in self.backlog.blocks(RUN.run) for index in each.indexes]

    @property
    def suspects(self) -> list[tuple[int, bool]]:
        return [(suspect.item.index, suspect.fresh) for suspect in self.backlog.suspects]

    def close(self) -> None:
        for process in self._processes:
            process.close()


@pytest.fixture
def ward() -> Iterator[Ward]:
    ward = Ward()
    yield ward
    ward.close()


def test_the_item_in_hand_is_tried_again_alone_and_the_others_are_put_back(ward: Ward) -> None:
    child = ward.child(1, 2, 3)
    ward.quarantine.after_death(child, SEGFAULT, {2: 0.0})
    assert (ward.waiting, ward.suspects, ward.failed) == ([1, 3], [(2, False)], [])


def test_of_several_items_in_hand_none_is_charged(ward: Ward) -> None:
    for _ in range(5):
        ward.quarantine.after_death(ward.child(1, 2, 3), SEGFAULT, {1: 0.0, 2: 0.0})
    assert ward.failed == []
    assert ward.suspects == [(1, False), (2, False)] * 5


def test_its_last_attempt_is_made_in_a_fresh_process_and_then_it_fails(ward: Ward) -> None:
    fresh = []
    for _ in range(3):
        ward.backlog.suspects.clear()
        ward.quarantine.after_death(ward.child(1), SEGFAULT, {1: 0.0})
        fresh += [is_fresh for _, is_fresh in ward.suspects]
    (failed,) = ward.failed
    assert fresh == [False, True]
    assert (failed.index, failed.error, failed.attempts) == (1, "ProcessDied", 3)
    assert "SIGSEGV" in failed.message
    assert "tried 3 times, alone" in failed.message


def test_one_that_dies_with_nothing_in_hand_has_the_search_begin(ward: Ward) -> None:
    ward.quarantine.after_death(ward.child(*range(80), done=5), SEGFAULT, {})
    assert len(ward.waiting) == 80
    assert ward.quarantine.bisection.limit(RUN.run) == 10


@pytest.mark.parametrize("done", [0, 1])
def test_the_only_item_of_a_dead_child_is_the_cause_unless_it_had_done_others(ward: Ward, done: int) -> None:
    """Those may have damaged the process: then the last attempt is repeated in a fresh one."""
    ward.quarantine.after_death(ward.child(1, done=done, attempts=1), SEGFAULT, {})
    assert [failed.index for failed in ward.failed] == ([] if done else [1])
    assert ward.suspects == ([(1, True)] if done else [])


@pytest.mark.parametrize(("killed", "exit_code"), [(BROKEN_PIPE, -9), (None, PIPE_LOST)])
def test_when_the_pipe_was_closed_any_item_may_be_the_cause(ward: Ward, killed: str | None, exit_code: int) -> None:
    child = ward.child(*range(16), attempts=1)
    if killed:
        child.kill(killed)
    ward.quarantine.after_death(child, exit_code, {3: 0.0})
    assert [failed.index for failed in ward.failed] == [3] or ward.suspects == [(3, True)]
    assert len(ward.waiting) == 15
    assert ward.quarantine.bisection.limit(RUN.run) == 2


def test_only_items_out_of_time_time_out(ward: Ward) -> None:
    child = ward.child(1, 2, 3, timeout_s=10.0)
    child.kill(TIMED_OUT)
    now = child.killed_at
    ward.quarantine.after_death(child, -9, {1: now - 11, 2: now + 1})
    assert [(failed.index, failed.error) for failed in ward.failed] == [(1, "Timeout")]
    assert "not finished within 10 s" in ward.failed[0].message
    assert ward.waiting == [2, 3]


def test_items_that_were_late_together_are_tried_alone(ward: Ward) -> None:
    """One that blocks the process makes all beside it late."""
    child = ward.child(1, 2, timeout_s=10.0)
    child.kill(TIMED_OUT)
    now = child.killed_at
    ward.quarantine.after_death(child, -9, {1: now - 11, 2: now - 12})
    assert ward.failed == []
    assert sorted(ward.suspects) == [(1, False), (2, False)]


def test_memory_has_a_reason_of_its_own(ward: Ward) -> None:
    child = ward.child(1, attempts=1)
    child.kill(TOO_LARGE)
    ward.quarantine.after_death(child, -9, {1: 0.0})
    assert "SHEAF_CHILD_MEMORY_MB" in ward.failed[0].message


@pytest.mark.parametrize("done", [0, 3])
def test_files_that_earlier_items_left_open_are_not_charged_to_the_next(ward: Ward, done: int) -> None:
    ward.quarantine.after_death(ward.child(1, 2, done=done), FILES_USED_UP, {1: 0.0})
    assert ward.waiting == ([1, 2] if done else [2])
    assert ward.suspects == ([] if done else [(1, False)])


def test_nothing_comes_of_a_forgotten_run_or_of_a_child_without_one(ward: Ward) -> None:
    child = ward.child(1, 2)
    child.forget_run()
    ward.quarantine.after_death(child, SEGFAULT, {1: 0.0})
    idle = ward.child()
    idle.unassign()
    ward.quarantine.after_death(idle, SEGFAULT, {})
    assert (ward.waiting, ward.suspects, ward.failed) == ([], [], [])


def test_a_suspect_that_was_not_begun_stays_one(ward: Ward) -> None:
    child, process = make_child()
    make_ready(child)
    child.finished(1, 0.1)
    child.give_alone(block(9))
    ward.quarantine.after_death(child, FILES_USED_UP, {})
    process.close()
    assert (ward.suspects, ward.waiting) == ([(9, False)], [])


def test_an_exception_needs_no_fresh_process(ward: Ward) -> None:
    child = ward.child(1, attempts=2)
    ward.quarantine.charge(child, [1], Verdict("ValueError", "no"))
    assert ward.suspects == [(1, False)]
    ward.quarantine.charge(child, [1], Verdict("ValueError", "no"))
    assert [(failed.error, failed.attempts) for failed in ward.failed] == [("ValueError", 2)]


def test_a_result_settles_what_was_charged(ward: Ward) -> None:
    child = ward.child(1, attempts=2)
    for _ in range(3):
        ward.quarantine.charge(child, [1], Verdict("ValueError", "no"))
        ward.quarantine.finished(RUN.run, [1])
    assert ward.failed == []
