"""What waits for the pool: the items of each run in the order they came, and suspects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple, Self

from sheaf.run.items import Item
from sheaf.run.number_range import Numbers
from sheaf.run.sessions import party_of
from sheaf_worker.wire.channel import TaskRun

#: A run whose items have waited so long gets a child of its own, even if that child could go on with another run of its
#: party.
PATIENCE_S = 1.0


class ItemBlock(NamedTuple):
    """Items, as two lists: making an object of each would cost more than all else that is done with it here."""

    indexes: Sequence[int]
    texts: Sequence[str]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        indexes, texts = [], []
        for index, text in items:
            indexes.append(index)
            texts.append(text)
        return cls(indexes, texts)

    @property
    def items(self) -> list[Item]:
        return [Item(index, text) for index, text in zip(self.indexes, self.texts, strict=True)]

    def cut(self, count: int) -> tuple[Self, Self]:
        """The first `count` items, and the rest."""
        return (
            self._replace(indexes=self.indexes[:count], texts=self.texts[:count]),
            self._replace(indexes=self.indexes[count:], texts=self.texts[count:]),
        )


def weight(texts: Sequence[str]) -> int:
    """Characters that have to be carried about. Numbers travel as their range, which is nothing to speak of."""
    return 0 if isinstance(texts, Numbers) else sum(map(len, texts))


class Suspect(NamedTuple):
    """An item that was in hand when a child died: it is tried alone, so that only the cause is charged."""

    program: TaskRun
    item: Item
    #: The process must not have done anything else before: what comes of this try decides.
    fresh: bool = False


class _Line:
    """One run's items, in blocks with the moment they came."""

    def __init__(self, program: TaskRun) -> None:
        self.program = program
        self.party = party_of(program.run)
        self.blocks: deque[tuple[float, ItemBlock]] = deque()
        self.count = 0


class Backlog:
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

    def add(self, program: TaskRun, block: ItemBlock, *, front: bool = False) -> None:
        if not block.indexes:
            return
        line = self._lines.setdefault(program.run, _Line(program))
        if not front:
            # A person may have told the run to go on with another version of its task.
            line.program = program
        line.count += len(block.indexes)
        if front:
            line.blocks.appendleft((line.blocks[0][0] if line.blocks else time.monotonic(), block))
        else:
            line.blocks.append((time.monotonic(), block))

    def parties(self) -> dict[str, int]:
        """Items of each party, suspects left out."""
        parties: dict[str, int] = {}
        for line in self._lines.values():
            parties[line.party] = parties.get(line.party, 0) + line.count
        return parties

    def choose(self, party: str, own: str | None, served: Container[str | None]) -> TaskRun | None:
        """Say which run of a party a child should serve next that serves `own` now; some child serves those `served`.

        It stays with its own run, except that a run that nobody serves and that has waited for long comes first.
        """
        lines = [line for line in self._lines.values() if line.party == party]
        if not lines:
            return None
        oldest = min(lines, key=lambda line: line.blocks[0][0])
        mine = self._lines.get(own) if own is not None else None
        if mine is None or mine.party != party:
            return oldest.program
        waited_s = time.monotonic() - oldest.blocks[0][0]
        if oldest.program.run not in served and waited_s > PATIENCE_S:
            return oldest.program
        return mine.program

    def take(self, run: str, count: int, size: int) -> ItemBlock:
        """Take the run's next items: at most `count`, and no more than `size` characters, but always one."""
        line = self._lines[run]
        taken: list[ItemBlock] = []
        room = size
        while count and line.blocks:
            since, block = line.blocks.popleft()
            wanted, rest = block.cut(count)
            fitting = _fitting(wanted.texts, room, at_least=0 if taken else 1)
            full = fitting < len(wanted.texts)
            if full:
                wanted, rest = block.cut(fitting)
            if rest.indexes:
                line.blocks.appendleft((since, rest))
            if wanted.indexes:
                taken.append(wanted)
            if full or isinstance(block.texts, Numbers):
                # Two ranges would no longer be one; what is behind them is taken next time.
                break
            count -= len(wanted.indexes)
            room -= weight(wanted.texts)
        whole = _together(taken)
        line.count -= len(whole.indexes)
        if not line.count:
            del self._lines[run]
        return whole

    def drop(self, run: str) -> list[Item]:
        """Take all items of a run, suspects too."""
        line = self._lines.pop(run, None)
        dropped = [item for _, block in line.blocks for item in block.items] if line else []
        dropped += [suspect.item for suspect in self.suspects if suspect.program.run == run]
        self.suspects = deque(suspect for suspect in self.suspects if suspect.program.run != run)
        return dropped

    def blocks(self, run: str) -> list[ItemBlock]:
        """The run's items, suspects left out."""
        line = self._lines.get(run)
        return [block for _, block in line.blocks] if line else []

    def sift(self, run: str, keep: Callable[[ItemBlock], Iterable[ItemBlock]]) -> None:
        """Leave of each of the run's blocks what `keep` returns of it, in its place; suspects are not touched."""
        line = self._lines[run]
        line.blocks = deque((since, part) for since, block in line.blocks for part in keep(block))
        line.count = sum(len(block.indexes) for _, block in line.blocks)
        if not line.count:
            del self._lines[run]

    def runs(self) -> set[str]:
        return set(self._lines) | {suspect.program.run for suspect in self.suspects}


def _together(blocks: list[ItemBlock]) -> ItemBlock:
    if len(blocks) == 1:
        return blocks[0]
    return ItemBlock(
        [index for block in blocks for index in block.indexes], [text for block in blocks for text in block.texts]
    )


def _fitting(texts: Sequence[str], size: int, at_least: int) -> int:
    """How many of the texts, from the first on, are within `size`, or `at_least`."""
    total = weight(texts)
    kept = len(texts)
    while kept > at_least and total > size:
        kept -= 1
        total -= len(texts[kept])
    return kept
