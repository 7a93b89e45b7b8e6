"""What this worker holds: the batches it has claimed, and which of their items are not yet settled."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from sheaf.batch import Batch, batch_id
from sheaf.run import Run


@dataclass(slots=True)
class Held:
    """One batch in flight."""

    batch: Batch
    run: Run
    #: Indexes of the items that are neither in the output nor among the failures, as far as this worker knows.
    open_items: set[int] = field(default_factory=set)


class Holdings:
    """Thread-safe: the taker adds, the committer settles, the keeper renews what is here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: Held) -> None:
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

    def settle(self, run: Run, indexes: Iterable[int]) -> list[str]:
        """Note that these items are settled; return the batches that are thereby finished, which are no longer held."""
        manifest = run.manifest
        by_batch: dict[int, list[int]] = {}
        for index in indexes:
            by_batch.setdefault(manifest.batch_number(index), []).append(index)
        finished = []
        with self._lock:
            for number, settled in by_batch.items():
                name = batch_id(manifest.run, number)
                held = self._held.get(name)
                if held is None:
                    continue
                held.open_items.difference_update(settled)
                if not held.open_items:
                    del self._held[name]
                    finished.append(name)
        return finished

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
