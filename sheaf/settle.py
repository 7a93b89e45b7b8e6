"""What a commit settles: drops the items that are settled already, and prepares the rest for the append.

gather() runs before the fence is taken, plan() inside it. The work is per batch or per range; what has to be done per
item is done by single calls over a whole list.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from sheaf.batch import Done, Failed, Result
from sheaf.errors import IndexForeign
from sheaf.ranges import to_masks, to_ranges

#: Records shorter than this on average are joined before they are written: copying is cheaper than a buffer each.
_JOIN_BELOW = 4096
#: Records joined into one piece.
_JOIN_COUNT = 4096
_index_of = itemgetter(0)
_record_of = itemgetter(1)


class RunRow(NamedTuple):
    """A row of `runs`."""

    id: int
    run: str
    items: int
    batch_size: int
    done: int
    failed: int
    complete_below: int

    def batch_items(self, number: int) -> int:
        return min(self.batch_size, self.items - number * self.batch_size)


class BatchRow(NamedTuple):
    """A row of `batches`, its bitmap as a number."""

    settled: int
    commits: bytes


@dataclass(slots=True)
class Group:
    """One run's results as they were handed over: sorted by index, each index once, the first one of it."""

    run: str
    results: list[Result]
    duplicates: int


@dataclass(slots=True)
class Part:
    """What one run contributes to a commit."""

    run: RunRow
    done: list[Done]
    failed: list[Failed]
    #: Results dropped because their items were settled before.
    duplicates: int
    #: The touched batches as they are before the commit, and the bits that it sets in each.
    batches: dict[int, BatchRow]
    masks: dict[int, int]
    #: The records in few buffers.
    pieces: list[bytes] = field(default_factory=list)
    length: int = 0

    @property
    def settled(self) -> int:
        return len(self.done) + len(self.failed)

    @property
    def finishes(self) -> bool:
        """Whether all of the run's items are settled once this part is."""
        return self.run.done + self.run.failed + self.settled == self.run.items


def gather(run: str, results: Sequence[Result]) -> Group:
    """Sort a run's results by index; of several for one item keep the first."""
    ordered = sorted(results, key=_index_of)
    indexes = set(map(_index_of, ordered))
    duplicates = len(ordered) - len(indexes)
    if duplicates:
        first: dict[int, Result] = {}
        for result in ordered:
            first.setdefault(result[0], result)
        ordered = list(first.values())
    return Group(run, ordered, duplicates)


def find_run(connection: sqlite3.Connection, run: str) -> RunRow:
    """Raises IndexForeign if the index does not know the run."""
    row = connection.execute(
        "SELECT id, run, items, batch_size, done, failed, complete_below FROM runs WHERE run = ?", (run,)
    ).fetchone()
    if row is None:
        raise IndexForeign(
            f"this output's index does not know the run {run}; was the index replaced by an older or another one? "
            "Workers register the run again by themselves; if they do not, submit it again"
        )
    return RunRow(*row)


def plan(connection: sqlite3.Connection, group: Group) -> Part:
    """Drop what is settled already, under the fence, and prepare the rest. Changes nothing."""
    run = find_run(connection, group.run)
    results = group.results
    if results and not 0 <= results[0][0] <= results[-1][0] < run.items:
        raise ValueError(
            f"results for items {results[0][0]} to {results[-1][0]}, but run {run.run} has {run.items} items"
        )
    masks = _masks_of(results, run)
    batches = _read_batches(connection, run, masks)
    taken = {number: mask & batches[number].settled for number, mask in masks.items()}
    if any(taken.values()):
        size = run.batch_size
        results = [result for result in results if not taken[result[0] // size] >> result[0] % size & 1]
        masks = _masks_of(results, run)
    done, failed = _split(results)
    part = Part(run, done, failed, group.duplicates + len(group.results) - len(results), batches, masks)
    records = list(map(_record_of, done))
    part.length = sum(map(len, records))
    part.pieces = _join(records, part.length)
    return part


def _masks_of(results: list[Result], run: RunRow) -> dict[int, int]:
    return to_masks(to_ranges(list(map(_index_of, results))), run.batch_size)


def _read_batches(connection: sqlite3.Connection, run: RunRow, numbers: Mapping[int, int]) -> dict[int, BatchRow]:
    rows = connection.execute(
        "SELECT number, settled, commits FROM batches WHERE run = ? AND number IN (SELECT value FROM json_each(?))",
        (run.id, json.dumps(list(numbers))),
    )
    batches = dict.fromkeys(numbers, BatchRow(0, b""))
    for number, settled, commits in rows:
        full = (1 << run.batch_items(number)) - 1
        batches[number] = BatchRow(full if settled is None else int.from_bytes(settled, "little"), commits)
    return batches


def _split(results: list[Result]) -> tuple[list[Done], list[Failed]]:
    kinds = set(map(type, results))
    if kinds <= {Done}:
        return results, []  # type: ignore[return-value]  # all of them are Done, seen without a look at each
    return (
        [result for result in results if isinstance(result, Done)],
        [result for result in results if isinstance(result, Failed)],
    )


def _join(records: list[bytes], length: int) -> list[bytes]:
    if length >= _JOIN_BELOW * len(records):
        return [record for record in records if record]
    joined = (b"".join(records[start : start + _JOIN_COUNT]) for start in range(0, len(records), _JOIN_COUNT))
    return [piece for piece in joined if piece]
