"""Take failures out of the index, within a write transaction, so that their items are done again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby

from sheaf.output.index import settled as settled_column
from sheaf.output.index.writer import IndexWriter


def reopen_failures(index: IndexWriter, name: str, errors: Collection[str] = (), items: Collection[int] = ()) -> int:
    """Make failed items open again: those of these classes and numbers, or all; return how many. Changes nothing else.

    Each of them loses its row among the failures and its bit among what is settled together, or not at all: so an item
    is done, failed or open, and never two of these.
    """
    run = index.run(name)
    size = run.size
    reopened, lowest = 0, run.complete_below
    # The items of a batch come together, so only one batch at a time is kept in memory.
    for number, failed in groupby(index.failed_items(run.id, errors, items), lambda item: item // run.batch_size):
        mask = _mask(failed, number * run.batch_size)
        reopened += mask.bit_count()
        lowest = min(lowest, number)
        batch = index.batch(run, number)
        if batch is None:
            raise ValueError(f"run {name} has failures in batch {number}, of which nothing is settled")
        count = size.batch_items(number)
        left, settled = settled_column.encode(batch.settled_items(count) & ~mask, count)
        index.write_batches([batch._replace(left=left, settled=settled)])
    index.remove_failures(run, errors, items)
    index.uncount_failures(run, reopened, lowest)
    return reopened


def _mask(items: Iterator[int], first: int) -> int:
    mask = 0
    for item in items:
        mask |= 1 << (item - first)
    return mask
