"""Visits every state that a model can reach, breadth first, and says in the fewest steps how a promise is broken."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Model(Protocol[State]):
    def initial(self) -> State: ...

    def steps(self, state: State) -> Iterator[tuple[str, State, bool]]:
        """Yield every step: what happens, the state after it, whether it happens by itself (False: it is a fault)."""

    def wrong(self, state: State) -> str:
        """Say which promise this state breaks; '' if none."""

    def wrong_step(self, before: State, after: State) -> str:
        """Say which promise this step breaks; '' if none."""

    def complete(self, state: State) -> bool:
        """Whether all is done and all is quiet."""

    def show(self, state: State) -> str:
        """One line for people."""


@dataclass(frozen=True, slots=True)
class Report:
    states: int
    steps: int
    #: '' if every promise holds in every state.
    broken: str = ""
    #: The shortest way there, for people.
    trace: str = ""
    #: How many steps that are.
    length: int = 0


class Checker(Generic[State]):
    def __init__(self, model: Model[State]) -> None:
        self._model = model
        start = model.initial()
        self._numbers: dict[State, int] = {start: 0}
        self._states = [start]
        self._parents: list[tuple[int, str]] = [(-1, "at first")]
        #: By state, those from which it is reached without a fault.
        self._before: list[list[int]] = [[]]
        self._steps = 0

    def check(self) -> Report:
        """Look at every state and every step; then, whether a fault-free way to the end leads out of every state."""
        # Nothing here is garbage until the end, and looking for it takes a third of the time.
        gc.disable()
        try:
            return self._look_everywhere()
        finally:
            gc.enable()

    def _look_everywhere(self) -> Report:
        number = 0
        while number < len(self._states):
            state = self._states[number]
            for label, after, by_itself in self._model.steps(state):
                self._steps += 1
                reached = self._visit(after, number, label)
                if by_itself:
                    self._before[reached].append(number)
                if broken := self._model.wrong_step(state, after) or self._model.wrong(after):
                    return self._report(broken, [*self._way_to(number), (label, after)])
            number += 1
        stuck = self._stuck()
        if stuck is not None:
            return self._report("from here nothing but a fault leads to the end", self._way_to(stuck))
        return Report(len(self._states), self._steps)

    def _visit(self, state: State, parent: int, label: str) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
            self._parents.append((parent, label))
            self._before.append([])
        return number

    def _stuck(self) -> int | None:
        """The first state from which no way leads to a complete one."""
        ends = [number for number, state in enumerate(self._states) if self._model.complete(state)]
        good = bytearray(len(self._states))
        waiting = deque(ends)
        for number in ends:
            good[number] = 1
        while waiting:
            for before in self._before[waiting.popleft()]:
                if not good[before]:
                    good[before] = 1
                    waiting.append(before)
        place = good.find(0)
        return None if place < 0 else place

    def _way_to(self, number: int) -> list[tuple[str, State]]:
        way = []
        while number >= 0:
            parent, label = self._parents[number]
            way.append((label, self._states[number]))
            number = parent
        return way[::-1]

    def _report(self, broken: str, way: list[tuple[str, State]]) -> Report:
        width = max(len(label) for label, _ in way)
        lines = [f"{place:3} {label:{width}}  {self._model.show(state)}" for place, (label, state) in enumerate(way)]
        return Report(len(self._states), self._steps, broken, "\n".join([broken, *lines]), len(way) - 1)
