"""What this worker holds: the batches it has claimed, and which of their items are not yet settled."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from sheaf.core.ranges import Range, to_masks, to_ranges
from sheaf.run.items import Batch, Bundle, Results, batch_id
from sheaf.run.run import Run


@dataclass(slots=True)
class InFlightBatch:
    """One batch in flight."""

    batch: Batch
    run: Run
    #: A bit for each item that is neither in the output nor among the failures, as far as this worker knows.
    open_items: int
    #: The task's files, with their digests, that the items are to be done with.
    files: Mapping[str, str] = field(default_factory=dict)
    #: The word in the headings of the output's pages, if it has one.
    separator: str = ""

    @classmethod
    def of(
        cls,
        batch: Batch,
        run: Run,
        open_indexes: Sequence[int],
        files: Mapping[str, str] | None = None,
        separator: str = "",
    ) -> Self:
        """`open_indexes`: ascending, each once."""
        masks = to_masks(to_ranges(open_indexes), run.manifest.batch_size)
        return cls(batch, run, masks.get(batch.number, 0), files or {}, separator)


class InFlight:
    """Thread-safe: the fetcher adds, the committer settles, the heartbeat renews what is here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, InFlightBatch] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: InFlightBatch) -> None:
        with self._lock:
            self._held[held.batch.id] = held

    def has(self, batch: str) -> bool:
        return batch in self._held

    def ids(self) -> list[str]:
        with self._lock:
            return list(self._held)

    def runs(self) -> dict[str, Run]:
        with self._lock:
            return {held.batch.run: held.run for held in self._held.values()}

    def run(self, name: str) -> Run | None:
        """The run, if one of its batches is held."""
        with self._lock:
            return next((held.run for held in self._held.values() if held.batch.run == name), None)

    def settle(self, run: Run, results: Results) -> list[str]:
        """Note that these are settled; return the batches that are thereby finished, which are no longer held."""
        manifest = run.manifest
        finished = []
        with self._lock:
            for number, mask in _masks(results, manifest.batch_size).items():
                name = batch_id(manifest.run, number)
                held = self._held.get(name)
                if held is None:
                    continue
                held.open_items &= ~mask
                if not held.open_items:
                    del self._held[name]
                    finished.append(name)
        return finished

    def drop_untouched(self, run: str, masks: Mapping[int, int]) -> list[tuple[int, str]]:
        """Let go of the run's batches whose open items are all among these; return their numbers and ids.

        `masks`: per number of a batch a bit for each item, as from to_masks().
        """
        dropped = []
        with self._lock:
            for number, mask in masks.items():
                name = batch_id(run, number)
                held = self._held.get(name)
                if held is not None and not held.open_items & ~mask:
                    del self._held[name]
                    dropped.append((number, name))
        return dropped

    def drop_run(self, run: str) -> list[str]:
        """Let go of all batches of a run; return their ids."""
        with self._lock:
            dropped = [name for name, held in self._held.items() if held.batch.run == run]
            for name in dropped:
                del self._held[name]
        return dropped

    def drop_all(self) -> list[str]:
        """Let go of everything; return the ids."""
        with self._lock:
            dropped = list(self._held)
            self._held.clear()
        return dropped


def _masks(results: Results, batch_size: int) -> dict[int, int]:
    """Per batch a bit for each of its items that is among the results."""
    ranges: list[Range] = []
    singles: set[int] = set()
    for result in results:
        if isinstance(result, Bundle) and isinstance(result.indexes, range):
            ranges.append((result.indexes.start, result.indexes.stop))
        elif isinstance(result, Bundle):
            singles.update(result.indexes)
        else:
            singles.add(result.index)
    return to_masks([*ranges, *to_ranges(sorted(singles))], batch_size)
