"""Which process has which place: started, exchanged, lent, and followed by another when it has died."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sheaf_worker.pool import lending, places
from sheaf_worker.pool.child_handle import NOWHERE, ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.places import Places
from sheaf_worker.pool.reserve import WARM
from tests.pool_child import RUN, block, kinds, make_child, make_ready, with_spec

OTHER = with_spec(RUN, task="other_tasks:act")._replace(run="run-2")


class Bed:
    """Places whose processes are real in all but that they run nothing."""

    def __init__(self, size: int) -> None:
        self.processes: dict[ChildHandle, Any] = {}
        #: How many starts the system refuses.
        self.refusals = 0
        self.places = Places(size, self._spawn)
        self.places.start()

    def _spawn(self, number: int) -> ChildHandle:
        if self.refusals:
            self.refusals -= 1
            raise OSError(11, "Resource temporarily unavailable")
        child, process = make_child(number)
        self.processes[child] = process
        return child

    def __getitem__(self, number: int) -> ChildHandle:
        return next(child for child in self.places.children if child.number == number)

    @property
    def numbers(self) -> list[int]:
        return sorted(child.number for child in self.places.children)

    def problem(self) -> str:
        return self.places.problem or ""

    def sent(self, child: ChildHandle) -> list[str]:
        return kinds(self.processes[child].theirs)

    def tend(self, *, idle: bool = True, after_s: float = 0.0) -> None:
        self.places.tend(time.monotonic() + after_s, idle=idle)

    def die(self, child: ChildHandle, why: str = "process died") -> None:
        before = child.state
        child.bury()
        self.places.remove(child, before=before, why=why)

    def close(self) -> None:
        for child, process in self.processes.items():
            if child.state is not State.GONE:
                process.close()


@pytest.fixture
def beds() -> Iterator[Any]:
    made: list[Bed] = []

    def make(size: int = 2) -> Bed:
        made.append(Bed(size))
        return made[-1]

    yield make
    for bed in made:
        bed.close()


@pytest.fixture
def bed(beds: Any) -> Bed:
    made: Bed = beds()
    return made


def check(bed: Bed) -> None:
    """What holds between two calls, as the module says it."""
    seated, without = list(bed.places.children), bed.places.without
    assert all(child.number >= 0 for child in seated)
    assert len({child.number for child in seated}) == len(seated)
    assert all(child.number == NOWHERE for child in without)
    assert not set(seated) & set(without)
    assert set(bed.places.everyone) == {child for child in bed.processes if child.state is not State.GONE}


# --- started ---------------------------------------------------------------------------------------------------------


def test_a_place_whose_process_has_died_gets_another_at_once(bed: Bed) -> None:
    """It had worked: nothing says that the next one will not."""
    first = make_ready(bed[0])

    bed.die(first)

    assert bed.numbers == [0, 1]
    assert bed[0] is not first
    assert (bed.places.deaths(0), bed.places.deaths(1)) == (1, 0)
    check(bed)


def test_one_that_dies_before_it_can_work_is_followed_after_a_while(bed: Bed) -> None:
    """Else the machine would do nothing but start processes."""
    bed.die(bed[0])

    assert bed.numbers == [1]
    bed.tend()
    assert bed.numbers == [1]
    bed.tend(after_s=places.BACK_OFF_S[0] * 2 + 1)
    assert bed.numbers == [0, 1]


def test_the_pauses_grow_up_to_a_limit(beds: Any) -> None:
    bed = beds(1)
    for _ in range(12):
        bed.die(bed[0])
        bed.tend(after_s=places.BACK_OFF_S[1] - 1)
        if not bed.numbers:
            break
    assert bed.numbers == [], "after a few failures nearly five seconds are too early"
    bed.tend(after_s=places.BACK_OFF_S[1] + 1)
    assert bed.numbers == [0]


def test_a_process_that_the_system_refuses_is_started_later_and_becomes_a_problem(
    beds: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """At the second refusal: one may be an accident."""
    bed = beds(1)
    bed.refusals = 2
    bed.die(make_ready(bed[0]))
    assert not bed.problem()
    assert "a pool process cannot be started" in caplog.text

    bed.tend(after_s=2)

    assert "Resource temporarily unavailable" in bed.problem()
    bed.tend(after_s=4)
    assert bed.numbers == [0]
    assert bed.problem(), "none has worked yet"
    make_ready(bed[0])
    bed.tend()
    assert not bed.problem()
    check(bed)


def test_what_a_process_lacked_is_said(beds: Any) -> None:
    bed = beds(1)
    for _ in range(2):
        bed[0].started()
        bed[0].serve(RUN)
        bed[0].note_missing("it cannot begin with 'load': no files")
        bed.die(bed[0])
        bed.tend(after_s=10)

    assert "(it cannot begin with 'load': no files)" in bed.problem()


def test_why_one_has_ended_before_it_could_work_is_said(beds: Any) -> None:
    bed = beds(1)
    for _ in range(2):
        bed.die(bed[0], "exit status 1")
        bed.tend(after_s=10)

    assert "it ended before it could work: exit status 1" in bed.problem()


def test_an_error_is_over_once_a_process_works(beds: Any) -> None:
    """What a task's import does to its processes later is said of the run, not of the pool."""
    bed: Bed = beds(1)
    bed.refusals = 1
    bed.die(make_ready(bed[0]))
    bed.tend(after_s=10)
    make_ready(bed[0])
    bed.tend()

    for _ in range(2):
        if bed[0].state is State.STARTING:
            bed[0].started()
        bed[0].serve(RUN)
        bed.die(bed[0])
        bed.tend(after_s=10)

    assert not bed.problem()


def test_a_pool_that_stops_starts_none(bed: Bed) -> None:
    bed.places.stop()
    bed.die(make_ready(bed[0]))
    bed.tend(after_s=100)

    assert bed.numbers == [1]


def test_one_that_was_asked_to_end_is_no_death(bed: Bed) -> None:
    child = bed[0]
    child.end()
    bed.die(child)

    assert bed.places.deaths(0) == 0
    assert bed.numbers == [0, 1]


# --- how many --------------------------------------------------------------------------------------------------------


def test_a_larger_pool_fills_its_new_places(bed: Bed) -> None:
    bed.places.resize(4)
    bed.tend()

    assert bed.numbers == [0, 1, 2, 3]


def test_a_smaller_pool_has_the_others_finish(bed: Bed) -> None:
    """What they have not begun, others do; when they have ended, none follows them."""
    last = make_ready(bed[1])
    last.give(block(0, 1))

    bed.places.resize(1)

    assert last.retiring and not bed[0].retiring
    assert bed.sent(last)[-1] == "recall"
    bed.die(last)
    bed.tend(after_s=100)
    assert bed.numbers == [0]


def test_places_that_wait_for_a_process_go_with_the_others(bed: Bed) -> None:
    bed.die(bed[1])
    bed.places.resize(1)
    bed.places.resize(1)
    bed.tend(after_s=100)

    assert bed.numbers == [0]


# --- exchanged -------------------------------------------------------------------------------------------------------


def test_a_process_serves_what_it_suits(bed: Bed) -> None:
    child = make_ready(bed[0])
    bed.places.assign(child, RUN)

    assert bed[0] is child
    assert child.state is State.PREPARING


def test_another_module_is_served_by_another_process_in_the_same_place(bed: Bed) -> None:
    """It may be asked for while the dispatcher goes through the places: their order stays. The first one is kept."""
    child = make_ready(bed[0])
    order = [each.number for each in bed.places.children]
    for each in bed.places.children:
        if each is child:
            bed.places.assign(each, OTHER)

    assert [each.number for each in bed.places.children] == order
    assert bed[0] is not child
    assert (child.number, child.state) == (NOWHERE, State.READY)
    make_ready(bed[0], OTHER)
    bed.places.assign(bed[0], RUN)
    assert bed[0] is child, "its module is imported already"
    assert child.state is State.PREPARING
    check(bed)


def test_one_without_a_module_gives_way_to_one_that_has_it(bed: Bed) -> None:
    """It would have to import what is there already."""
    child, unused = make_ready(bed[0]), bed[1]
    bed.places.assign(child, OTHER)
    unused.started()

    bed.places.assign(unused, RUN)

    assert bed[1] is child
    assert unused.state is State.IDLE and unused in bed.places.without
    check(bed)


def test_one_that_serves_suspects_is_followed_by_one_that_does(bed: Bed) -> None:
    child = make_ready(bed[0])
    child.reserve_for_suspects()

    bed.places.assign(child, OTHER)
    successor = bed[0]
    assert successor.for_suspects and not child.for_suspects

    bed.die(make_ready(successor, OTHER))
    assert bed[0].for_suspects


def test_one_that_is_not_worth_keeping_ends(bed: Bed) -> None:
    child = make_ready(bed[0])
    child.retire()

    bed.places.assign(child, OTHER)

    assert child.state is State.ENDING
    bed.die(child)
    assert bed.numbers == [0, 1]
    check(bed)


def test_without_a_process_for_another_module_the_first_keeps_its_place(bed: Bed) -> None:
    child = make_ready(bed[0])
    bed.refusals = 1

    bed.places.assign(child, OTHER)

    assert bed[0] is child
    assert child.program == RUN


def test_fresh_ones_stand_ready_once_a_module_is_in_use(bed: Bed) -> None:
    bed.tend(after_s=100)
    assert bed.places.without == []
    child = make_ready(bed[0])

    bed.tend(after_s=100)
    (fresh,) = bed.places.without
    bed.places.assign(child, OTHER)

    assert bed[0] is fresh, "though it is only starting, it is ready sooner than a new one"
    check(bed)


def test_a_fresh_one_that_dies_is_followed_by_another(beds: Any) -> None:
    bed = beds(1)
    make_ready(bed[0])
    bed.tend(after_s=100)
    (fresh,) = bed.places.without

    bed.die(fresh)
    assert bed.places.without == []
    bed.tend(after_s=200)

    assert len(bed.places.without) == 1
    check(bed)


def test_more_than_are_kept_end_oldest_first(beds: Any) -> None:
    bed = beds(WARM + 1)
    children = [make_ready(bed[number]) for number in range(WARM + 1)]
    for child in children:
        bed.places.assign(child, OTHER)

    bed.tend()

    assert [child.state for child in children] == [State.ENDING] + [State.READY] * WARM


# --- lent ------------------------------------------------------------------------------------------------------------


def waiting(bed: Bed, number: int) -> ChildHandle:
    """A child whose first item waits for the cluster; it has not begun its second."""
    child = make_ready(bed[number])
    child.give(block(1, 2))
    bed.processes[child].writer.begin(1)
    child.note_waiting(1)
    return child


def test_one_that_waits_for_the_cluster_lends_its_place_and_is_kept_afterwards(bed: Bed) -> None:
    child = waiting(bed, 0)

    bed.tend()

    assert bed.places.lent == [child]
    assert bed.sent(child)[-1] == "recall", "what it has not begun is done by others"
    bed.tend()
    assert bed.numbers == [0, 1] and bed[0] is not child
    check(bed)
    child.take([1, 2])
    bed.tend()
    assert bed.places.lent == []
    assert (child.state, child.number) == (State.READY, NOWHERE)
    bed[0].started()
    bed.places.assign(bed[0], RUN)
    assert bed[0] is child, "it was kept, as it has the module"
    check(bed)


def test_a_fresh_one_takes_a_lent_place(bed: Bed) -> None:
    make_ready(bed[1])
    bed.tend(after_s=100)
    (fresh,) = bed.places.without
    waiting(bed, 0)

    bed.tend()

    assert bed[0] is fresh
    check(bed)


def test_a_place_beyond_the_pools_size_is_lent_to_none(bed: Bed) -> None:
    """The pool has become smaller: a fresh process would stay there for good."""
    make_ready(bed[0])
    bed.tend(after_s=100)
    child = waiting(bed, 1)
    bed.places.resize(1)

    bed.tend()

    assert bed.numbers == [0]
    assert bed.places.lent == [child]
    check(bed)


def test_when_all_wait_and_no_more_can_be_lent_one_is_killed(beds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LEAST": 0, "FOR_EACH": 0, "REPORTED_S": 0.0, "STUCK_S": 0.0}.items():
        monkeypatch.setattr(lending, name, value)
    bed = beds(1)
    child = waiting(bed, 0)
    bed.tend()

    assert child.killed == "waits for others that wait"
    assert "tasks that wait for the cluster" in bed.problem()
    bed.places.moved()
    assert not bed.problem()
