"""Find records in the output and read them: the bytes that were committed, or an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

from sheaf.core.errors import OutputDamaged, OutputError, OutputMissing, OutputShortened, UsageError
from sheaf.core.ranges import place_of
from sheaf.output.commit.data_file import checksum_of
from sheaf.output.index.database import Index
from sheaf.output.index.rows import CommitRow
from sheaf.output.read.reader import PAGE_ROWS


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """Where a record is in the output, or several of one commit, one after the other."""

    #: The (first) item.
    index: int
    offset: int
    length: int
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

    @classmethod
    def of(cls, row: CommitRow) -> CommitSlice:
        indexes = [item for first, end in row.records()[0] for item in range(first, end)]
        return cls(row.id, indexes, row.offset, row.length, row.checksum)


class RecordReader:
    """Reading raises OutputMissing, OutputShortened, and OutputDamaged for bytes that are not those committed."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def one(self, run: str, item: int) -> bytes:
        """Return one item's record. Raises UsageError that says why there is none."""
        return next(self.read(iter((self.locate(run, item),))))[1]

    def all(self, run: str) -> Iterator[tuple[int, bytes]]:
        """Yield (index, record) of all items in the output, in the file's order."""
        return self.read(self._locations(run))

    def slices(self, run: str, after: int = 0) -> list[CommitSlice]:
        """Return what was committed of the run since the commit `after`, by commit: to be read in bulk.

        At most a page of them; none: there are no more.
        """
        with self._index.reading() as index:
            return [CommitSlice.of(row) for row in index.commits_of(index.run(run), after, PAGE_ROWS)]

    def locate(self, run: str, item: int) -> RecordLocation:
        """Return where the item's record is. Raises UsageError that says why there is none."""
        with self._index.reading() as index:
            row = index.run(run)
            if not 0 <= item < row.items:
                raise UsageError(f"run {run} has items 0 to {row.items - 1}, but no item {item}")
            batch = index.batch(row, item // row.batch_size)
            for number in batch.commit_ids() if batch else ():
                commit = index.commit(number)
                items, lengths = commit.records()
                place = place_of(items, item)
                if place is not None:
                    return RecordLocation(item, commit.offset + sum(lengths[:place]), lengths[place], number)
            failure = index.failure(row, item)
        if failure:
            raise UsageError(f"item {item} of run {run} failed, so it has no record: {failure.error}: {failure.reason}")
        raise UsageError(
            f"item {item} of run {run} is not done yet, so it has no record; `sheaf watch {run}` follows it"
        )

    def _locations(self, run: str) -> Iterator[RecordLocation]:
        """Where the run's records are, in the file's order."""
        after = 0
        while True:
            with self._index.reading() as index:
                found = index.commits_of(index.run(run), after, limit=1)
                if not found:
                    return
                after, offset = found[0].id, found[0].offset
                ranges, lengths = found[0].records()
            items = (item for first, end in ranges for item in range(first, end))
            for item, length in zip(items, lengths, strict=True):
                yield RecordLocation(item, offset, length, after)
                offset += length

    def read(self, wanted: Iterator[RecordLocation]) -> Iterator[tuple[int, bytes]]:
        """Read records from the output, one after the other; each commit is checked before the first record of it."""
        checked = bytearray()
        with self._open() as source:
            for place in wanted:
                if not _mark(checked, place.commit):
                    self._check_commit(source, place.commit)
                source.seek(place.offset)
                record = source.read(place.length)
                if len(record) < place.length:
                    raise self._shortened(f"the record of item {place.index}", place.offset + len(record))
                yield place.index, record

    def read_slice(self, wanted: CommitSlice) -> bytes:
        """Read what one commit holds, all at once."""
        with self._open() as source:
            source.seek(wanted.offset)
            data = source.read(wanted.length)
        if len(data) < wanted.length:
            raise self._shortened(f"commit {wanted.commit}", wanted.offset + len(data))
        if isal_zlib.crc32(data) != wanted.checksum:
            raise self._damaged(wanted.commit, len(wanted.indexes), wanted.offset)
        return data

    def _check_commit(self, source: BinaryIO, number: int) -> None:
        with self._index.reading() as index:
            commit = index.commit(number)
        checksum, left = checksum_of(source, commit.offset, commit.length)
        if left:
            raise self._shortened(f"commit {number}", commit.offset + commit.length - left)
        if checksum != commit.checksum:
            raise self._damaged(number, commit.items, commit.offset)

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        output = self._index.output
        try:
            with open(output, "rb") as source:
                yield source
        except FileNotFoundError as error:
            raise OutputMissing(
                f"{output} is gone, but its index {self._index.path.name} is there; bring the file back"
            ) from error
        except OSError as error:
            raise OutputError(f"{output} cannot be read: {error.strerror}; look at the disk and the rights") from error

    def _shortened(self, what: str, end: int) -> OutputShortened:
        output = self._index.output
        return OutputShortened(
            f"{output} ends within {what}, at byte {end}: committed bytes are gone; bring the file back, "
            f"or see what is whole: sheaf repair {output.name}"
        )

    def _damaged(self, commit: int, items: int, offset: int) -> OutputDamaged:
        output = self._index.output
        return OutputDamaged(
            f"commit {commit} of {output} ({items} records at byte {offset}) is damaged: its bytes are not those "
            "that were written, so none of them is handed out; bring the file back, or have what is damaged done "
            f"again: sheaf repair {output.name}"
        )


def _mark(marks: bytearray, number: int) -> bool:
    """Set a bit; return whether it was set before. A bit for each commit is little, however long the output."""
    byte, bit = number >> 3, 1 << (number & 7)
    if byte >= len(marks):
        marks.extend(bytes(byte + 1 - len(marks)))
    was = bool(marks[byte] & bit)
    marks[byte] |= bit
    return was
