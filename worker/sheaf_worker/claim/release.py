"""Whole batches that wait behind slow items are too much for this worker: others could do them meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from itertools import groupby

from sheaf.core.ranges import to_masks, to_ranges
from sheaf_worker.claim.in_flight import Holdings
from sheaf_worker.pool.backlog import Lot
from sheaf_worker.pool.pool import Pool


def take_surplus(pool: Pool, holdings: Holdings) -> list[str]:
    """Take out of the pool, and out of what is held, every batch of which nothing is begun; return their ids."""
    surplus: list[str] = []
    for name in pool.line.runs():
        run = holdings.run(name)
        if run is None:
            continue
        size = run.manifest.batch_size
        # Each once: of a run that was cancelled and resumed, what a child gives back may have been claimed anew.
        indexes = sorted({index for lot in pool.line.lots(name) for index in lot.indexes})
        dropped = holdings.drop_untouched(name, to_masks(to_ranges(indexes), size))
        if dropped:
            pool.line.sift(name, partial(_without, {number for number, _ in dropped}, size))
            surplus += [batch for _, batch in dropped]
    return surplus


def _without(batches: Collection[int], size: int, lot: Lot) -> list[Lot]:
    """The parts of a lot that lie in other batches than these."""
    parts = []
    for number, indexes in groupby(lot.indexes, lambda index: index // size):
        part, lot = lot.cut(sum(1 for _ in indexes))
        if number not in batches:
            parts.append(part)
    return parts
