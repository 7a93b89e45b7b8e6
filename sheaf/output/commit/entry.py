"""A commit's entry in the index: the rows that say what it settled, written within its transaction."""

from __future__ import annotations

import time
from typing import NamedTuple

from sheaf.core.ranges import pack, pack_ranges, unpack
from sheaf.output.commit.plan import Records, RunCommit
from sheaf.output.index import settled as settled_column
from sheaf.output.index.rows import BatchValues, CommitRow
from sheaf.output.index.writer import IndexWriter


class Stamp(NamedTuple):
    """Who commits, and when."""

    worker: int
    token: int
    at: float


def stamp_now(index: IndexWriter, worker: str, token: int) -> Stamp:
    return Stamp(index.worker_id(worker), token, time.time())


def write_header(index: IndexWriter, header: bytes, stamp: Stamp) -> None:
    """Note that the output begins with these bytes, which are no item's."""
    index.add_commit(_commit_row(None, Records(buffers=[header]), 0, stamp))


def write(index: IndexWriter, commit: RunCommit, offset: int, stamp: Stamp) -> None:
    """Note that these items are settled, their records at `offset`."""
    run = commit.run
    number = None
    if commit.done.lengths:
        number = index.add_commit(_commit_row(run.id, commit.done, offset, stamp))
    index.add_failures(run, commit.failed, stamp.at)
    index.write_batches(_batch_rows(commit, number))
    index.count(
        run,
        done=len(commit.done.lengths),
        failed=len(commit.failed),
        length=commit.length,
        complete_below=_complete_below(index, commit),
        at=stamp.at,
    )
    index.credit(run, stamp.worker, commit.settled, commit.length)


def _commit_row(run: int | None, records: Records, offset: int, stamp: Stamp) -> CommitRow:
    records.seal()
    ranges = records.ranges
    return CommitRow(
        id=0,
        run=run,
        items=len(records.lengths),
        low=ranges[0][0] if ranges else None,
        high=ranges[-1][1] - 1 if ranges else None,
        ranges=pack_ranges(ranges),
        lengths=records.packed_lengths or b"",
        offset=offset,
        length=sum(map(len, records.buffers)),
        checksum=records.checksum,
        worker=stamp.worker,
        token=stamp.token,
        at=stamp.at,
    )


def _batch_rows(commit: RunCommit, number: int | None) -> list[BatchValues]:
    rows: list[BatchValues] = []
    run, size = commit.run.id, commit.run.size
    alone = pack([number]) if number is not None else b""
    for batch, mask in commit.masks.items():
        left, settled = settled_column.encode(commit.settled_before[batch] | mask, size.batch_items(batch))
        before = commit.batches.get(batch)
        commits = before.commits if before is not None else b""
        if number is not None and batch in commit.done_masks:
            commits = pack([*unpack(commits), number]) if commits else alone
        rows.append((run, batch, left, settled, commits))
    return rows


def _complete_below(index: IndexWriter, commit: RunCommit) -> int:
    """The number below which every batch is complete, so that a search for open ones need not pass them."""
    number = commit.run.complete_below
    return index.first_incomplete(commit.run, number) if number in commit.masks else number
