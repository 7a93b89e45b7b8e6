"""What waits for the pool: the items of each run in the order they came, and suspects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Sequence
from operator import attrgetter
from typing import NamedTuple

from sheaf.batch import Item
from sheaf_worker.channel import Program

#: A run whose items have waited so long gets a child of its own, even if that child could go on with another run.
PATIENCE_S = 1.0

_text = attrgetter("text")


class Suspect(NamedTuple):
    """An item that was in hand when a child died: it is tried alone, so that only the guilty one is blamed."""

    program: Program
    item: Item


class _Line:
    """One run's items, in bundles with the moment they came."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bundles: deque[tuple[float, Sequence[Item]]] = deque()
        self.count = 0


class Waiting:
    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self.suspects: deque[Suspect] = deque()

    def __len__(self) -> int:
        return sum(line.count for line in self._lines.values()) + len(self.suspects)

    @property
    def only_suspects(self) -> bool:
        """Whether there is nothing for a child that has others beside it."""
        return not self._lines

    def count(self, run: str) -> int:
        """Items of the run, suspects left out."""
        line = self._lines.get(run)
        return line.count if line else 0

    def add(self, program: Program, items: Sequence[Item], *, front: bool = False) -> None:
        if not items:
            return
        line = self._lines.setdefault(program.run, _Line(program))
        line.count += len(items)
        if front:
            line.bundles.appendleft((line.bundles[0][0] if line.bundles else time.monotonic(), items))
        else:
            line.bundles.append((time.monotonic(), items))

    def choose(self, own: str | None, served: Container[str | None]) -> Program | None:
        """Say which run a child should serve next that serves `own` now; `served` are those that some child serves.

        It stays with its own run, except that a run that nobody serves and that has waited for long comes first.
        """
        if not self._lines:
            return None
        oldest = min(self._lines.values(), key=lambda line: line.bundles[0][0])
        mine = self._lines.get(own) if own is not None else None
        if mine is None:
            return oldest.program
        waited_s = time.monotonic() - oldest.bundles[0][0]
        if oldest.program.run not in served and waited_s > PATIENCE_S:
            return oldest.program
        return mine.program

    def take(self, run: str, count: int, size: int) -> list[Item]:
        """Take the run's next items: at most `count`, and no more than `size` characters, but always one."""
        line = self._lines[run]
        taken: list[Item] = []
        while len(taken) < count and line.bundles:
            since, items = line.bundles.popleft()
            wanted = count - len(taken)
            if len(items) > wanted:
                line.bundles.appendleft((since, items[wanted:]))
            taken += items[:wanted]
        kept = _fitting(taken, size)
        if kept < len(taken):
            line.bundles.appendleft((time.monotonic(), taken[kept:]))
            del taken[kept:]
        line.count -= len(taken)
        if not line.count:
            del self._lines[run]
        return taken

    def drop(self, run: str) -> list[Item]:
        """Take all items of a run, suspects too."""
        line = self._lines.pop(run, None)
        dropped = [item for _, items in line.bundles for item in items] if line else []
        dropped += [suspect.item for suspect in self.suspects if suspect.program.run == run]
        self.suspects = deque(suspect for suspect in self.suspects if suspect.program.run != run)
        return dropped

    def runs(self) -> set[str]:
        return set(self._lines) | {suspect.program.run for suspect in self.suspects}


def _fitting(items: Sequence[Item], size: int) -> int:
    """How many of the items, from the first on, are within `size`; at least one."""
    total = sum(map(len, map(_text, items)))
    kept = len(items)
    while kept > 1 and total > size:
        kept -= 1
        total -= len(items[kept].text)
    return kept
