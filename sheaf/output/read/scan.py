"""Read a run's records in bulk, in the file's order or in the items': records that follow one another in one read."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from sheaf.core.ranges import Range
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.read.reader import PAGE_ROWS
from sheaf.output.read.records import RecordLocation, RecordReader

#: Commits whose records' places are kept at once while the items' order is followed.
_KEPT_COMMITS = 16


class Span(NamedTuple):
    """Records of consecutive items, one after the other in the output."""

    first: int
    offset: int
    lengths: Sequence[int]
    commit: int


class _Batch(NamedTuple):
    """A batch's items, from `first` to before `end`; `records` of them are in these commits."""

    first: int
    end: int
    commits: list[int]
    records: int


class _Records(NamedTuple):
    """Where one commit's records are."""

    commit: int
    ranges: list[Range]
    offset: int
    lengths: list[int]
    #: Before each record, how many bytes of the commit come before it.
    starts: array[int]


def spans(index: Index, run: str, *, ordered: bool) -> Iterator[Span]:
    """Yield all of the run's records. Memory does not grow with the run."""
    _check_count(index, run)
    load = lru_cache(maxsize=_KEPT_COMMITS)(lambda number: _load(index, number))
    if ordered:
        for first, end, commits, count in _batches(index, run):
            found = [span for commit in commits for span in _within(load(commit), first, end)]
            if sum(len(span.lengths) for span in found) != count or len(set(commits)) != len(commits):
                raise disk_errors.index_damaged(index.path, f"items {first} to {end - 1} have not {count} records")
            yield from sorted(found)
        return
    for commit in _commits(index, run):
        yield from _within(_load(index, commit), 0, None)


def read_spans(index: Index, wanted: Iterator[Span]) -> Iterator[tuple[Span, bytes]]:
    """Read the records' bytes. Raises OutputMissing, OutputShortened."""
    requested: list[Span] = []

    def locations() -> Iterator[RecordLocation]:
        for span in wanted:
            requested.append(span)
            yield RecordLocation(span.first, span.offset, sum(span.lengths), span.commit)

    for _, data in RecordReader(index).read(locations()):
        yield requested.pop(), data


def _commits(index: Index, run: str) -> Iterator[int]:
    after = 0
    while True:
        with index.reading() as reader:
            page = reader.commit_ids_of(reader.run(run), after, PAGE_ROWS)
        if not page:
            return
        yield from page
        after = page[-1]


def _check_count(index: Index, run: str) -> None:
    """Raise IndexForeign unless the run's commits hold as many records as its row says."""
    with index.reading() as reader:
        row = reader.run(run)
        count = reader.committed_items(row)
        if count != row.done:
            raise ValueError(f"run {run} has {row.done} records, but its commits hold {count}")


def _batches(index: Index, run: str) -> Iterator[_Batch]:
    after = -1
    while True:
        with index.reading() as reader:
            row = reader.run(run)
            size, page = row.size, []
            for batch, failed in reader.batches_with_failures(row, after, PAGE_ROWS):
                number = batch.number
                if not after < number < size.batches:
                    raise ValueError(f"run {run} has no batch {number} after {after}")
                after, first = number, number * row.batch_size
                records = size.batch_items(number) - batch.left - failed
                page.append(_Batch(first, first + row.batch_size, batch.commit_ids(), records))
        if not page:
            return
        yield from page


def _load(index: Index, number: int) -> _Records:
    with index.reading() as reader:
        row = reader.commit(number)
        ranges, lengths = row.records()
        return _Records(number, ranges, row.offset, lengths, array("Q", accumulate(lengths, initial=0)))


def _within(records: _Records, first: int, end: int | None) -> Iterator[Span]:
    """The commit's records of the items from `first` to before `end`."""
    place = 0
    for low, high in records.ranges:
        begin, stop = max(low, first), high if end is None else min(high, end)
        if begin < stop:
            at = place + begin - low
            lengths = records.lengths[at : at + stop - begin]
            yield Span(begin, records.offset + records.starts[at], lengths, records.commit)
        place += high - low
