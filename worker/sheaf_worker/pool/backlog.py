"""The items that are not yet sent to a child: those of each run in the order they came, and suspects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple, Self

from sheaf.run.items import Item
from sheaf.run.number_range import Numbers
from sheaf.run.sessions import party_of
from sheaf_worker.wire.channel import TaskRun

#: Seconds after which a run that no child serves gets one, even if that child could go on with another run of its
#: party.
LONGEST_WAIT_S = 1.0


class ItemBlock(NamedTuple):
    """Items as two lists: an object for each would cost more than everything else that the pool does with it."""

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
    """Characters to send and keep. Numbers travel as a range, which weighs next to nothing."""
    return 0 if isinstance(texts, Numbers) else sum(map(len, texts))


class Suspect(NamedTuple):
    """An item that was in hand when a child died: it is tried alone, so that only the cause is charged."""

    program: TaskRun
    item: Item
    #: It needs a process that has done nothing else before: this attempt is decisive.
    fresh: bool = False


class _RunQueue:
    """One run's items, in blocks with the times at which they came."""

    def __init__(self, program: TaskRun) -> None:
        self.program = program
        self.party = party_of(program.run)
        self.blocks: deque[tuple[float, ItemBlock]] = deque()
        self.count = 0


class Backlog:
    def __init__(self) -> None:
        self._queues: dict[str, _RunQueue] = {}
        self.suspects: deque[Suspect] = deque()

    def __len__(self) -> int:
        return sum(queue.count for queue in self._queues.values()) + len(self.suspects)

    @property
    def only_suspects(self) -> bool:
        """Whether only suspects are left, which are done alone."""
        return not self._queues

    def count(self, run: str) -> int:
        """Items of the run, suspects left out."""
        queue = self._queues.get(run)
        return queue.count if queue else 0

    def add(self, program: TaskRun, block: ItemBlock, *, front: bool = False) -> None:
        if not block.indexes:
            return
        queue = self._queues.setdefault(program.run, _RunQueue(program))
        if not front:
            # The run may have been resumed with another version of its task.
            queue.program = program
        queue.count += len(block.indexes)
        if front:
            queue.blocks.appendleft((queue.blocks[0][0] if queue.blocks else time.monotonic(), block))
        else:
            queue.blocks.append((time.monotonic(), block))

    def parties(self) -> dict[str, int]:
        """Items of each party, suspects left out."""
        parties: dict[str, int] = {}
        for queue in self._queues.values():
            parties[queue.party] = parties.get(queue.party, 0) + queue.count
        return parties

    def choose(self, party: str, own: str | None, served: Container[str | None]) -> TaskRun | None:
        """Choose which run of a party a child that serves `own` should serve next; `served`: runs that have a child.

        It stays with its own run, unless another one that no child serves has waited for long.
        """
        queues = [queue for queue in self._queues.values() if queue.party == party]
        if not queues:
            return None
        oldest = min(queues, key=lambda queue: queue.blocks[0][0])
        mine = self._queues.get(own) if own is not None else None
        if mine is None or mine.party != party:
            return oldest.program
        waited_s = time.monotonic() - oldest.blocks[0][0]
        if oldest.program.run not in served and waited_s > LONGEST_WAIT_S:
            return oldest.program
        return mine.program

    def take(self, run: str, count: int, size: int) -> ItemBlock:
        """Take the run's next items: at most `count`, and no more than `size` characters, but always one."""
        queue = self._queues[run]
        taken: list[ItemBlock] = []
        room = size
        while count and queue.blocks:
            since, block = queue.blocks.popleft()
            wanted, rest = block.cut(count)
            fitting = _fitting(wanted.texts, room, at_least=0 if taken else 1)
            full = fitting < len(wanted.texts)
            if full:
                wanted, rest = block.cut(fitting)
            if rest.indexes:
                queue.blocks.appendleft((since, rest))
            if wanted.indexes:
                taken.append(wanted)
            if full or isinstance(block.texts, Numbers):
                # Two ranges cannot be sent as one; the next one is taken by the next call.
                break
            count -= len(wanted.indexes)
            room -= weight(wanted.texts)
        whole = _together(taken)
        queue.count -= len(whole.indexes)
        if not queue.count:
            del self._queues[run]
        return whole

    def drop(self, run: str) -> list[Item]:
        """Take all items of a run, suspects too."""
        queue = self._queues.pop(run, None)
        dropped = [item for _, block in queue.blocks for item in block.items] if queue else []
        dropped += [suspect.item for suspect in self.suspects if suspect.program.run == run]
        self.suspects = deque(suspect for suspect in self.suspects if suspect.program.run != run)
        return dropped

    def blocks(self, run: str) -> list[ItemBlock]:
        """The run's items, suspects left out."""
        queue = self._queues.get(run)
        return [block for _, block in queue.blocks] if queue else []

    def sift(self, run: str, keep: Callable[[ItemBlock], Iterable[ItemBlock]]) -> None:
        """Replace each of the run's blocks by what `keep` returns for it; suspects are not affected."""
        queue = self._queues[run]
        queue.blocks = deque((since, part) for since, block in queue.blocks for part in keep(block))
        queue.count = sum(len(block.indexes) for _, block in queue.blocks)
        if not queue.count:
            del self._queues[run]

    def runs(self) -> set[str]:
        return set(self._queues) | {suspect.program.run for suspect in self.suspects}


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
