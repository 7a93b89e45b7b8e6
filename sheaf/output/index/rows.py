"""The rows of the index's tables, one class for each table. A commit's row has to agree with itself to be believed.

Those that every commit reads and writes are named tuples: SQLite gives and takes them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sheaf.core.ranges import Range, count_of, unpack, unpack_ranges
from sheaf.output.index import settled as settled_column
from sheaf.run.items import known_as


class State(NamedTuple):
    """The only row of `state`: how far the output is committed, and how its file is recognised."""

    output: str
    header: bytes
    #: L, the committed length.
    length: int
    #: The highest token of any commit.
    token: int
    identity: str
    head: int
    tail: int
    seals: int


class Size(NamedTuple):
    """How a run is cut into batches."""

    items: int
    batch_size: int

    def batch_items(self, number: int) -> int:
        return min(self.batch_size, self.items - number * self.batch_size)

    @property
    def batches(self) -> int:
        return -(-self.items // self.batch_size)


class RunRow(NamedTuple):
    """A row of `runs`: how far a run is."""

    id: int
    run: str
    items: int
    batch_size: int
    done: int
    failed: int
    #: Bytes of its records in the output.
    bytes: int
    #: Every batch with a lower number is complete.
    complete_below: int
    #: When the run was registered, and when it was last committed to (0: never); seconds since 1970.
    started: float
    last_commit: float

    @property
    def size(self) -> Size:
        return Size(self.items, self.batch_size)

    @property
    def open(self) -> int:
        """Items that are neither done nor failed."""
        return self.items - self.done - self.failed

    @property
    def finished(self) -> bool:
        return self.open == 0


class CommitRow(NamedTuple):
    """A row of `commits`: what one commit appended of one run (None: the header, which is no item's)."""

    #: 0: not in the table yet, which gives it one.
    id: int
    run: int | None
    items: int
    low: int | None
    high: int | None
    ranges: bytes
    lengths: bytes
    offset: int
    length: int
    #: CRC-32 of the bytes.
    checksum: int
    worker: int
    token: int
    at: float

    def records(self) -> tuple[list[Range], list[int]]:
        """Return the items and their records' lengths. Raises ValueError if the row contradicts itself.

        One bit that was flipped anywhere in the row does that: it shifts the last item, or changes a count or a sum.
        """
        numbers = (self.id, self.items, self.offset, self.length, self.checksum)
        try:
            ranges, lengths = unpack_ranges(self.ranges), unpack(self.lengths)
            if not all(isinstance(number, int) for number in numbers):
                fits = False
            elif self.run is None:
                fits = not ranges and not lengths
            else:
                fits = (
                    count_of(ranges) == len(lengths) == self.items > 0
                    and sum(lengths) == self.length
                    and (ranges[0][0], ranges[-1][1] - 1) == (self.low, self.high)
                    and all(first < end for first, end in ranges)
                )
        except (TypeError, ValueError, OverflowError, EOFError) as error:
            raise ValueError(f"commit {self.id} cannot be read: {error}") from error
        if not fits:
            raise ValueError(f"commit {self.id} does not add up: items, records and bytes disagree")
        return ranges, lengths

    def claimed_items(self) -> list[Range]:
        """The items that a row names although it contradicts itself; none if they cannot be made out."""
        try:
            return unpack_ranges(self.ranges)
        except (TypeError, ValueError, OverflowError, EOFError):
            return []


#: What a BatchRow holds. A commit may write hundreds, and a plain tuple costs a third of the time.
BatchValues = tuple[int, int, int, bytes | None, bytes]


class BatchRow(NamedTuple):
    """A row of `batches`: which of a batch's items are settled, and the commits that hold their records."""

    run: int
    number: int
    #: Items neither done nor failed.
    left: int
    #: A bit for each settled item (`settled.py`).
    settled: bytes | None
    #: Ids of commits, packed.
    commits: bytes

    def settled_items(self, count: int) -> int:
        """The settled items of the batch, which has `count`, as the bits of a number."""
        return settled_column.decode(self.settled, count)

    def open_items(self, count: int) -> int:
        """The others. Raises TypeError for a row that contradicts itself."""
        return settled_column.open_items(self.left, self.settled, count)

    def commit_ids(self) -> list[int]:
        return unpack(self.commits)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of `failures`: an item that failed for good."""

    index: int
    error: str
    message: str
    attempts: int
    at: float

    @property
    def reason(self) -> str:
        """The message's first line, without the name of the class that it begins with."""
        line = self.message.partition("\n")[0]
        prefix = next((f"{name}: " for name in known_as([self.error]) if line.startswith(f"{name}: ")), "")
        return line.removeprefix(prefix)


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """A row of `shares`: what one worker has contributed to a run."""

    worker: str
    #: Items it settled: done or failed.
    items: int
    bytes: int
    commits: int
