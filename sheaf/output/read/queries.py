"""What the index knows: progress, what is left, failures, and where a record lies. Any process may ask at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

from sheaf.core.errors import OutputDamaged, OutputError, OutputMissing, OutputShortened, UsageError
from sheaf.core.ranges import place_of, set_bits, unpack
from sheaf.output.commit.data_file import checksum_of
from sheaf.output.commit.plan import RunRow, find_run
from sheaf.output.index import settled as settled_column
from sheaf.output.index.commit_row import COLUMNS, CommitRow
from sheaf.output.index.database import Index
from sheaf.run.items import Batch, failure_class

#: Rows read at once: between two pages nothing is held, so SQLite's log does not grow while a caller thinks.
PAGE_ROWS = 1000
_PROGRESS = "SELECT run, items, done, failed, bytes, started, last_commit FROM runs"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    items: int
    done: int
    failed: int
    #: Bytes of its records in the output.
    bytes: int
    #: When the run was registered, and when it was last committed to (0: never); seconds since 1970.
    started: float
    last_commit: float

    @property
    def finished(self) -> bool:
        return self.done + self.failed == self.items


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """What one worker has contributed to a run."""

    worker: str
    #: Items it settled: done or failed.
    items: int
    bytes: int
    commits: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed for good."""

    index: int
    error: str
    message: str
    attempts: int
    at: float


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """Where a record lies in the output."""

    index: int
    offset: int
    length: int
    #: The commit that it is part of.
    commit: int


@dataclass(frozen=True, slots=True)
class CommitSlice:
    """What one commit holds of a run: the records of these items, one after the other."""

    commit: int
    indexes: list[int]
    offset: int
    length: int
    #: CRC-32 of the bytes.
    checksum: int


def remaining(index: Index, run: str, batch: Batch) -> Sequence[int]:
    """The batch's items that are neither done nor failed."""
    with index.reading() as connection:
        row = connection.execute(
            "SELECT left, settled FROM batches WHERE run = ? AND number = ?",
            (find_run(connection, run).id, batch.number),
        ).fetchone()
        left, settled = row or (batch.count, b"")
        open_bits = settled_column.open_items(left, settled, batch.count)
    if row is None:
        return range(batch.first, batch.end)
    return [batch.first + position for position in set_bits(open_bits)]


def unfinished_batches(index: Index, run: str) -> Iterator[int]:
    """Numbers of the batches that are not complete, ascending. What completes meanwhile may still be among them."""
    with index.reading() as connection:
        row = find_run(connection, run)
    number, end = row.complete_below, -(-row.items // row.batch_size)
    while number < end:
        complete = _complete_batches(index, row, number)
        for found in complete:
            yield from range(number, found)
            number = found + 1
        if len(complete) < PAGE_ROWS:
            yield from range(number, end)
            return


def _complete_batches(index: Index, run: RunRow, number: int) -> list[int]:
    with index.reading() as connection:
        rows = connection.execute(
            "SELECT number FROM batches WHERE run = ? AND number >= ? AND left = 0 ORDER BY number LIMIT ?",
            (run.id, number, PAGE_ROWS),
        )
        return [found for (found,) in rows]


def progress(index: Index, run: str) -> Progress:
    with index.reading() as connection:
        row = connection.execute(f"{_PROGRESS} WHERE id = ?", (find_run(connection, run).id,)).fetchone()
    return Progress(*row[1:])


def all_progress(index: Index) -> dict[str, Progress]:
    with index.reading() as connection:
        rows = connection.execute(f"{_PROGRESS} ORDER BY id").fetchall()
    return {run: Progress(*values) for run, *values in rows}


def workers(index: Index, run: str) -> list[WorkerShare]:
    """Who has settled how much of the run, the largest share first."""
    with index.reading() as connection:
        rows = connection.execute(
            "SELECT workers.worker, items, bytes, commits FROM shares JOIN workers ON workers.id = shares.worker "
            "WHERE run = ? ORDER BY items DESC, workers.worker",
            (find_run(connection, run).id,),
        ).fetchall()
    return [WorkerShare(*row) for row in rows]


def failures(index: Index, run: str) -> Iterator[Failure]:
    """The run's failed items, in the items' order."""
    after = -1
    while True:
        with index.reading() as connection:
            rows = connection.execute(
                "SELECT item, error, message, attempts, at FROM failures WHERE run = ? AND item > ? "
                "ORDER BY item LIMIT ?",
                (find_run(connection, run).id, after, PAGE_ROWS),
            ).fetchall()
        for row in rows:
            yield Failure(row[0], failure_class(row[1]), *row[2:])
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1][0]


def find_record(index: Index, run: str, item: int) -> RecordLocation:
    """Return where the item's record lies. Raises UsageError that says why there is none."""
    with index.reading() as connection:
        row = find_run(connection, run)
        if not 0 <= item < row.items:
            raise UsageError(f"run {run} has items 0 to {row.items - 1}, but no item {item}")
        batch = connection.execute(
            "SELECT commits FROM batches WHERE run = ? AND number = ?", (row.id, item // row.batch_size)
        ).fetchone()
        for commit in unpack(batch[0]) if batch else ():
            found = read_commit(connection, commit)
            held, sizes = found.records()
            place = place_of(held, item)
            if place is not None:
                return RecordLocation(item, found.offset + sum(sizes[:place]), sizes[place], commit)
        failure = connection.execute(
            "SELECT error, message FROM failures WHERE run = ? AND item = ?", (row.id, item)
        ).fetchone()
    if failure:
        error, message = failure_class(failure[0]), failure[1]
        reason = message.partition("\n")[0].removeprefix(f"{failure[0]}: ")
        raise UsageError(f"item {item} of run {run} failed, so it has no record: {error}: {reason}")
    raise UsageError(f"item {item} of run {run} is not done yet, so it has no record; `sheaf watch {run}` follows it")


def places(index: Index, run: str) -> Iterator[RecordLocation]:
    """Where the run's records lie, in the file's order."""
    after = 0
    while True:
        with index.reading() as connection:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM commits WHERE run = ? AND id > ? ORDER BY id LIMIT 1",  # noqa: S608
                (find_run(connection, run).id, after),
            ).fetchone()
            if row is None:
                return
            commit = CommitRow(*row)
            after, offset = commit.id, commit.offset
            held, sizes = commit.records()
        items = (item for first, end in held for item in range(first, end))
        for item, length in zip(items, sizes, strict=True):
            yield RecordLocation(item, offset, length, after)
            offset += length


def pieces(index: Index, run: str, after: int) -> list[CommitSlice]:
    """What was committed of the run since the commit `after` (0: ever), a piece of the file for each commit."""
    with index.reading() as connection:
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM commits WHERE run = ? AND id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (find_run(connection, run).id, after, PAGE_ROWS),
        ).fetchall()
        return [_piece(CommitRow(*row)) for row in rows]


def _piece(commit: CommitRow) -> CommitSlice:
    items = [item for first, end in commit.records()[0] for item in range(first, end)]
    return CommitSlice(commit.id, items, commit.offset, commit.length, commit.checksum)


def read_commit(connection: sqlite3.Connection, number: int) -> CommitRow:
    row = connection.execute(f"SELECT {COLUMNS} FROM commits WHERE id = ?", (number,)).fetchone()  # noqa: S608
    if row is None:
        raise ValueError(f"commit {number} is not there")
    return CommitRow(*row)


def read_record(index: Index, place: RecordLocation) -> bytes:
    """Read one record. Raises OutputMissing, OutputShortened, OutputDamaged."""
    return next(read_records(index, iter((place,))))[1]


def read_records(index: Index, wanted: Iterator[RecordLocation]) -> Iterator[tuple[int, bytes]]:
    """Read records from the output, one after the other; each commit is checked before the first record of it."""
    checked = bytearray()
    with _reading(index) as source:
        for place in wanted:
            if not _mark(checked, place.commit):
                _check_commit(index, source, place.commit)
            source.seek(place.offset)
            record = source.read(place.length)
            if len(record) < place.length:
                raise _shortened(index, f"the record of item {place.index}", place.offset + len(record))
            yield place.index, record


def read_piece(index: Index, piece: CommitSlice) -> bytes:
    """Read what one commit holds, all at once."""
    with _reading(index) as source:
        source.seek(piece.offset)
        data = source.read(piece.length)
    if len(data) < piece.length:
        raise _shortened(index, f"commit {piece.commit}", piece.offset + len(data))
    if isal_zlib.crc32(data) != piece.checksum:
        raise _damaged(index, piece.commit, len(piece.indexes), piece.offset)
    return data


def _mark(marks: bytearray, number: int) -> bool:
    """Set a bit; return whether it was set before. A bit for each commit is little, however long the output."""
    byte, bit = number >> 3, 1 << (number & 7)
    if byte >= len(marks):
        marks.extend(bytes(byte + 1 - len(marks)))
    was = bool(marks[byte] & bit)
    marks[byte] |= bit
    return was


def _check_commit(index: Index, source: BinaryIO, commit: int) -> None:
    with index.reading() as connection:
        row = read_commit(connection, commit)
    found, left = checksum_of(source, row.offset, row.length)
    if left:
        raise _shortened(index, f"commit {commit}", row.offset + row.length - left)
    if found != row.checksum:
        raise _damaged(index, commit, row.items, row.offset)


@contextmanager
def _reading(index: Index) -> Iterator[BinaryIO]:
    try:
        with open(index.output, "rb") as source:
            yield source
    except FileNotFoundError as error:
        raise OutputMissing(
            f"{index.output} is gone, but its index {index.path.name} is there; bring the file back"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{index.output} cannot be read: {error.strerror}; look at the disk and the rights"
        ) from error


def _shortened(index: Index, what: str, end: int) -> OutputShortened:
    return OutputShortened(
        f"{index.output} ends within {what}, at byte {end}: committed bytes are gone; bring the file back, "
        f"or see what is whole: sheaf repair {index.output.name}"
    )


def _damaged(index: Index, commit: int, items: int, offset: int) -> OutputDamaged:
    return OutputDamaged(
        f"commit {commit} of {index.output} ({items} records at byte {offset}) is damaged: its bytes are not those "
        "that were written, so none of them is handed out; bring the file back, or have what is damaged done again: "
        f"sheaf repair {index.output.name}"
    )
