"""What an index holds twice: batches' rows and runs' counters follow from the commits and the failures.

Verify compares both; a repair writes them anew from what they follow from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sheaf.core.bitmap import Bitmap
from sheaf.core.ranges import Range, pack, to_masks, unpack
from sheaf.output.index import settled as settled_column
from sheaf.output.index.commit_row import COLUMNS, CommitRow


class Size(NamedTuple):
    """How a run is cut into batches."""

    items: int
    batch_size: int

    def batch_items(self, number: int) -> int:
        return min(self.batch_size, self.items - number * self.batch_size)


@dataclass(slots=True)
class Derived:
    """What follows for one run."""

    size: Size
    done: int = 0
    failed: int = 0
    bytes: int = 0
    #: By batch: the bits of its settled items, and the commits that hold its records.
    settled: dict[int, int] = field(default_factory=dict)
    commits: dict[int, list[int]] = field(default_factory=dict)

    def add_commit(self, commit: CommitRow, held: Iterable[Range]) -> None:
        self.done += commit.items
        self.bytes += commit.length
        for number, mask in to_masks(held, self.size.batch_size).items():
            self.settled[number] = self.settled.get(number, 0) | mask
            self.commits.setdefault(number, []).append(commit.id)

    def add_failure(self, item: int) -> None:
        self.failed += 1
        number, offset = divmod(item, self.size.batch_size)
        self.settled[number] = self.settled.get(number, 0) | 1 << offset

    def is_complete(self, number: int) -> bool:
        return self.settled.get(number, 0).bit_count() == self.size.batch_items(number)

    @property
    def complete_below(self) -> int:
        number = 0
        while number * self.size.batch_size < self.size.items and self.is_complete(number):
            number += 1
        return number


def derive(connection: sqlite3.Connection, key: int, size: Size) -> Derived:
    """Work it out for the run with that key, from rows that can be believed: those of a repair."""
    derived = Derived(size)
    for commit in commits_of(connection, key):
        derived.add_commit(commit, commit.records()[0])
    for (item,) in connection.execute("SELECT item FROM failures WHERE run = ?", (key,)):
        derived.add_failure(item)
    return derived


def commits_of(connection: sqlite3.Connection, key: int) -> Iterator[CommitRow]:
    # The row's own order is taken, not the index of the table's by run, which may be what is damaged.
    for row in connection.execute(f"SELECT {COLUMNS} FROM commits WHERE +run = ? ORDER BY id", (key,)):  # noqa: S608
        yield CommitRow(*row)


def differences(connection: sqlite3.Connection, key: int, derived: Derived) -> list[str]:
    """Say what the index has noted otherwise. Raises what damaged rows raise."""
    found = []
    noted = connection.execute("SELECT done, failed, bytes, complete_below FROM runs WHERE id = ?", (key,)).fetchone()
    counted = (derived.done, derived.failed, derived.bytes)
    if noted[:3] != counted:
        found.append(
            f"{derived.done} done, {derived.failed} failed, {derived.bytes} bytes, but the index counted {noted[:3]}"
        )
    if not 0 <= noted[3] <= derived.complete_below:
        found.append(f"all batches below {noted[3]} are noted as complete, but {derived.complete_below} is not")
    wrong, seen = 0, 0
    rows = connection.execute("SELECT number, left, settled, commits FROM batches WHERE run = ?", (key,))
    for number, left, bits, commits in rows:
        settled = derived.settled.get(number, 0)
        wrong += not _is_noted(derived, number, left, bits, commits)
        seen += settled.bit_count()
    if wrong:
        found.append(f"{wrong} batches are noted with other items settled than were committed, or with other commits")
    total = sum(bits.bit_count() for bits in derived.settled.values())
    if seen != total:
        found.append(f"{total - seen} settled items are in no batch's row")
    return found


def _is_noted(derived: Derived, number: int, left: int, bits: bytes | None, commits: bytes) -> bool:
    count, settled = derived.size.batch_items(number), derived.settled.get(number, 0)
    try:
        noted = settled_column.decode(bits, count)
        return (
            noted == settled
            and left == count - settled.bit_count()
            and sorted(unpack(commits)) == sorted(derived.commits.get(number, []))
        )
    except (ValueError, TypeError, OverflowError):
        return False


def write(connection: sqlite3.Connection, key: int, derived: Derived) -> None:
    """Have the index note it."""
    connection.execute("DELETE FROM batches WHERE run = ?", (key,))
    rows = []
    for number, settled in sorted(derived.settled.items()):
        count = derived.size.batch_items(number)
        rows.append((key, number, *settled_column.encode(settled, count), pack(derived.commits.get(number, []))))
    connection.executemany("INSERT INTO batches (run, number, left, settled, commits) VALUES (?, ?, ?, ?, ?)", rows)
    connection.execute(
        "UPDATE runs SET items = ?, batch_size = ?, done = ?, failed = ?, bytes = ?, complete_below = ? WHERE id = ?",
        (*derived.size, derived.done, derived.failed, derived.bytes, derived.complete_below, key),
    )


def drop_failures(connection: sqlite3.Connection, key: int, size: Size, done: Bitmap) -> int:
    """Take out failures of items that are in the output, or that the run does not have; return how many."""
    dropped = 0
    for rowid, item in connection.execute("SELECT rowid, item FROM failures WHERE run = ?", (key,)).fetchall():
        if not isinstance(item, int) or not 0 <= item < size.items or done.add(item, item + 1):
            connection.execute("DELETE FROM failures WHERE rowid = ?", (rowid,))
            dropped += 1
    return dropped
