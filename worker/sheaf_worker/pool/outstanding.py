"""The items that a child was sent and has not finished."""

from __future__ import annotations

from collections import deque
from collections.abc import ItemsView, Iterator, Sequence
from itertools import repeat

from sheaf.run.number_range import Numbers
from sheaf_worker.pool.backlog import ItemBlock, weight


class Outstanding:
    """index -> text. Numbers stay a range for as long as they come back in the order in which they were sent."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._numbers: deque[tuple[range, Numbers]] = deque()
        self._count = 0
        #: The weight of the texts (`backlog.weight`).
        self.weight = 0

    def __len__(self) -> int:
        return len(self._texts) + self._count

    def __contains__(self, index: int) -> bool:
        return index in self._texts or any(index in indexes for indexes, _ in self._numbers)

    def __getitem__(self, index: int) -> str:
        self._spell_out()
        return self._texts[index]

    def __iter__(self) -> Iterator[int]:
        self._spell_out()
        return iter(self._texts)

    def items(self) -> ItemsView[int, str]:
        self._spell_out()
        return self._texts.items()

    def add(self, block: ItemBlock) -> None:
        if isinstance(block.texts, Numbers) and isinstance(block.indexes, range):
            self._numbers.append((block.indexes, block.texts))
            self._count += len(block.texts)
        else:
            self._texts.update(zip(block.indexes, block.texts, strict=True))
            self.weight += weight(block.texts)

    def take(self, indexes: Sequence[int]) -> set[int]:
        """Remove these items. Returns the indexes that were not outstanding."""
        if isinstance(indexes, range):
            indexes = self._take_first(indexes)
        if not indexes:
            return set()
        self._spell_out()
        texts = list(map(self._texts.pop, indexes, repeat(None)))
        self.weight -= weight(list(filter(None, texts)))
        if None not in texts:
            return set()
        return {index for index, text in zip(indexes, texts, strict=True) if text is None}

    def _take_first(self, indexes: range) -> range:
        """Remove those that are the oldest outstanding numbers; return the others."""
        while indexes and self._numbers:
            first, numbers = self._numbers[0]
            count = min(len(indexes), len(first))
            if indexes[:count] != first[:count]:
                break
            indexes = indexes[count:]
            self._count -= count
            if count == len(first):
                self._numbers.popleft()
            else:
                self._numbers[0] = first[count:], numbers[count:]
        return indexes

    def _spell_out(self) -> None:
        """Single items are needed: replace the ranges by a text for each."""
        while self._numbers:
            texts = dict(zip(*self._numbers.popleft(), strict=True))
            self._texts.update(texts)
            self.weight += weight(list(texts.values()))
        self._count = 0
