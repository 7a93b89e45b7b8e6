"""What an output's index knows: progress, what is left, failures. Any process may ask at any time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sheaf.core.ranges import set_bits
from sheaf.output.index.database import Index
from sheaf.output.index.rows import Failure, RunRow, State, WorkerShare
from sheaf.run.items import Batch

#: Rows read at once. Between two pages no transaction is open, so SQLite's log does not grow while a caller thinks.
PAGE_ROWS = 1000


class OutputReader:
    """Each answer is of one moment; what is yielded page by page, of several."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def state(self) -> State:
        """Return how far the output is committed, what it begins with, and the highest token of any commit."""
        with self._index.reading() as index:
            return index.state()

    def run(self, name: str) -> RunRow:
        """Return how far a run is; costs the same whatever its length. Raises IndexForeign for an unknown one."""
        with self._index.reading() as index:
            return index.run(name)

    def runs(self) -> dict[str, RunRow]:
        """Return how far every run is that was registered, oldest first."""
        with self._index.reading() as index:
            return {run.run: run for run in index.runs()}

    def remaining(self, name: str, batch: Batch) -> Sequence[int]:
        """Return the indexes of the batch's items that are neither in the output nor among the failures."""
        with self._index.reading() as index:
            row = index.batch(index.run(name), batch.number)
            if row is None:
                return range(batch.first, batch.end)
            open_items = row.open_items(batch.count)
        return [batch.first + position for position in set_bits(open_items)]

    def unfinished_batches(self, name: str) -> Iterator[int]:
        """Yield the numbers of the batches with items left, ascending and lazily.

        A batch that completes meanwhile may still be among them.
        """
        run = self.run(name)
        number, end = run.complete_below, run.size.batches
        while number < end:
            with self._index.reading() as index:
                complete = index.complete_batches(run, number, PAGE_ROWS)
            for found in complete:
                yield from range(number, found)
                number = found + 1
            if len(complete) < PAGE_ROWS:
                yield from range(number, end)
                return

    def shares(self, name: str) -> list[WorkerShare]:
        """Return who has settled how much of the run, the largest share first."""
        with self._index.reading() as index:
            return index.shares(index.run(name))

    def failures(self, name: str) -> Iterator[Failure]:
        """Yield the run's failed items, in the items' order."""
        after = -1
        while True:
            with self._index.reading() as index:
                page = index.failures(index.run(name), after, PAGE_ROWS)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            after = page[-1].index
