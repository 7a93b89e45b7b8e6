"""Releases whole batches that wait after slow items, so that other workers can do them."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from itertools import groupby

from sheaf.core.ranges import to_masks, to_ranges
from sheaf_worker.claim.in_flight import InFlight
from sheaf_worker.pool.backlog import ItemBlock
from sheaf_worker.pool.pool import Pool


def take_unstarted(pool: Pool, in_flight: InFlight) -> list[str]:
    """Take every batch of which nothing has begun out of the pool and out of flight; return their ids."""
    unstarted: list[str] = []
    for name in pool.backlog.runs():
        run = in_flight.run(name)
        if run is None:
            continue
        size = run.manifest.batch_size
        # Each once: of a run that was cancelled and resumed, what a child gives back may have been claimed anew.
        indexes = sorted({index for block in pool.backlog.blocks(name) for index in block.indexes})
        dropped = in_flight.drop_untouched(name, to_masks(to_ranges(indexes), size))
        if dropped:
            pool.backlog.sift(name, partial(_without, {number for number, _ in dropped}, size))
            unstarted += [batch for _, batch in dropped]
    return unstarted


def _without(batches: Collection[int], size: int, block: ItemBlock) -> list[ItemBlock]:
    """The parts of a block that belong to other batches than these."""
    parts = []
    for number, indexes in groupby(block.indexes, lambda index: index // size):
        part, block = block.cut(sum(1 for _ in indexes))
        if number not in batches:
            parts.append(part)
    return parts
