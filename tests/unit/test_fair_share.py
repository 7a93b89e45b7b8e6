"""Whose turn it is at a pool's processes, in time that is only counted: parties share it evenly, whatever they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Any

import pytest

from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.fair_share import QUANTUM_S, FairShare

STEP_S = 0.05


class Process:
    """A process of a pool: the run that it serves, and for how long it is still made ready for that."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.run: str | None = None
        self.prepares_s = 0.0
        self.went_over = 0
        self.outstanding = [0]

    @property
    def state(self) -> State:
        return State.IDLE if self.run is None else State.PREPARING if self.prepares_s > 0 else State.READY


class Hall:
    """A number of processes, and who has had how much of their time."""

    def __init__(self, size: int, prices: dict[str, float] | None = None) -> None:
        self.turns = FairShare()
        self.processes = [Process(number) for number in range(size)]
        self.had: defaultdict[str, float] = defaultdict(float)
        self.now = 0.0
        self._prices = prices or {}

    def go_on(
        self, waiting: Collection[str], for_s: float, *, stuck: Callable[[Process], bool] = lambda _: False
    ) -> None:
        """Let time pass, with items of these parties waiting; a process that is `stuck` does not finish its item."""
        processes: Any = self.processes
        until = self.now + for_s
        while self.now < until - STEP_S / 2:
            self.now += STEP_S
            self.turns.count(processes, waiting, self.now)
            for process in self.processes:
                if process.run is not None:
                    self.had[process.run] += STEP_S
                process.prepares_s -= STEP_S
                if process.prepares_s <= 0 and not stuck(process):
                    self._choose(process, waiting)

    def _choose(self, process: Process, waiting: Collection[str]) -> None:
        serving = Counter(each.run for each in self.processes if each.run is not None)
        party = self.turns.choose(process.run, waiting, serving)
        if party != process.run:
            process.run, process.prepares_s = party, self._prices.get(party, 0.0)
            process.went_over += 1

    def since(self, before: dict[str, float]) -> dict[str, float]:
        return {party: seconds - before[party] for party, seconds in self.had.items()}


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("parties", [2, 3, 5])
def test_all_have_the_same_part(size: int, parties: int) -> None:
    """However many there are of either; and a process goes over no oftener than a quantum lets it."""
    hall = Hall(size)

    hall.go_on([f"run-{number}" for number in range(parties)], 60)

    fair_s = 60 * size / parties
    assert all(abs(seconds - fair_s) < 4 * QUANTUM_S for seconds in hall.had.values()), hall.had
    assert all(process.went_over <= 60 / QUANTUM_S for process in hall.processes)


def test_who_comes_has_a_turn_at_once_and_no_more_than_its_part() -> None:
    """The one that was alone for long owes it nothing."""
    hall = Hall(1)
    hall.go_on(["old"], 1000)
    before = hall.had.copy()

    hall.go_on(["old", "new"], 2 * QUANTUM_S + 2 * STEP_S)
    assert hall.had["new"] > 0
    hall.go_on(["old", "new"], 20)

    had = hall.since(before)
    assert abs(had["old"] - had["new"]) < 4 * QUANTUM_S, had


def test_who_was_alone_for_a_while_owes_nothing_of_before() -> None:
    """Whom it kept waiting then is gone, and the next one is not owed that."""
    hall = Hall(1)
    hall.go_on(["a", "b"], 1)
    hall.go_on(["a", "b"], 20, stuck=lambda process: process.run == "a")
    hall.go_on(["a"], 10)
    before = hall.had.copy()

    hall.go_on(["a", "c"], 10)

    had = hall.since(before)
    assert abs(had["a"] - had["c"]) < 4 * QUANTUM_S, had


def test_processes_are_divided_and_not_all_given_to_whose_turn_it_is() -> None:
    """They choose at the same moment, and each counts those that have just gone over."""
    hall = Hall(8)
    hall.go_on(["a", "b"], 10)

    for _ in range(100):
        hall.go_on(["a", "b"], STEP_S)
        assert sum(process.run == "a" for process in hall.processes) in range(2, 7)


def test_one_after_another_that_come_for_a_moment_leave_a_long_one_its_part() -> None:
    """Each is new, and begins where all are even; what a short one had too much is not its successor's."""
    hall = Hall(1)
    hall.go_on(["long"], 100)
    before = hall.had.copy()

    for number in range(60):
        hall.go_on(["long", f"short-{number}"], 1)

    assert 20 < hall.since(before)["long"] < 45


def test_who_goes_with_more_than_its_part_still_has_had_it_when_it_is_back() -> None:
    """It is no newcomer, or to stop asking for a moment would pay."""
    hall = Hall(1)
    hall.go_on(["a", "b"], 1)
    hall.go_on(["a", "b"], 8, stuck=lambda process: process.run == "a")
    hall.go_on(["b"], 1)
    before = hall.had.copy()

    hall.go_on(["a", "b"], 3)

    assert hall.since(before)["b"] > 2, hall.since(before)


def test_who_was_kept_from_all_processes_comes_first_but_not_for_as_long_as_it_was_kept() -> None:
    """One's item has held the only process for a quarter of an hour: the other catches up, and then they share."""
    hall = Hall(1)
    hall.go_on(["a"], 1)
    hall.go_on(["a", "b"], 1000, stuck=lambda _: True)
    before = hall.had.copy()

    hall.go_on(["a", "b"], 25)
    assert hall.since(before)["b"] > 24
    hall.go_on(["a", "b"], 675)

    assert hall.since(before)["a"] > 50, hall.since(before)


def test_a_task_that_takes_long_to_be_made_ready_keeps_its_process_for_longer() -> None:
    """Going over at every quantum would leave nothing but making ready."""
    hall = Hall(1, prices={"model": 2.0})

    hall.go_on(["model", "other"], 200)

    assert hall.processes[0].went_over < 40
    assert abs(hall.had["model"] - hall.had["other"]) < 25, hall.had
