"""The batches that this worker has claimed, and which of their items are not yet settled."""

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
    #: A bit for each item that is not settled, as far as this worker knows.
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
    """Thread-safe: the fetcher adds batches, the committer settles items, the heartbeat renews the leases."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: dict[str, InFlightBatch] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, claimed: InFlightBatch) -> None:
        with self._lock:
            self._batches[claimed.batch.id] = claimed

    def has(self, batch: str) -> bool:
        return batch in self._batches

    def ids(self) -> list[str]:
        with self._lock:
            return list(self._batches)

    def runs(self) -> dict[str, Run]:
        with self._lock:
            return {claimed.batch.run: claimed.run for claimed in self._batches.values()}

    def run(self, name: str) -> Run | None:
        """The run, if one of its batches is in flight."""
        with self._lock:
            return next((claimed.run for claimed in self._batches.values() if claimed.batch.run == name), None)

    def settle(self, run: Run, results: Results) -> list[str]:
        """Note that these are settled; return the batches that this finishes; they are no longer in flight."""
        manifest = run.manifest
        finished = []
        with self._lock:
            for number, mask in _masks(results, manifest.batch_size).items():
                name = batch_id(manifest.run, number)
                claimed = self._batches.get(name)
                if claimed is None:
                    continue
                claimed.open_items &= ~mask
                if not claimed.open_items:
                    del self._batches[name]
                    finished.append(name)
        return finished

    def drop_untouched(self, run: str, masks: Mapping[int, int]) -> list[tuple[int, str]]:
        """Drop the run's batches whose open items are all among these; return their numbers and ids.

        `masks`: per number of a batch a bit for each item, as from to_masks().
        """
        dropped = []
        with self._lock:
            for number, mask in masks.items():
                name = batch_id(run, number)
                claimed = self._batches.get(name)
                if claimed is not None and not claimed.open_items & ~mask:
                    del self._batches[name]
                    dropped.append((number, name))
        return dropped

    def drop_run(self, run: str) -> list[str]:
        """Drop all batches of a run; return their ids."""
        with self._lock:
            dropped = [name for name, claimed in self._batches.items() if claimed.batch.run == run]
            for name in dropped:
                del self._batches[name]
        return dropped

    def drop_all(self) -> list[str]:
        """Drop all batches; return their ids."""
        with self._lock:
            dropped = list(self._batches)
            self._batches.clear()
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
