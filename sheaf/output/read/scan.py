"""Read a run's records in bulk, in the file's order or in the items': those that lie one after the other at once."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from sheaf.core.ranges import Range, unpack
from sheaf.output.commit.plan import find_run
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.read.queries import PAGE_ROWS, RecordLocation, read_commit, read_records

#: Commits whose records' places are kept at once while the items' order is followed.
_KEPT_COMMITS = 16


class Stretch(NamedTuple):
    """Records of consecutive items, one after the other in the output."""

    first: int
    offset: int
    lengths: Sequence[int]
    commit: int


class _Commit(NamedTuple):
    """Where one commit's records lie."""

    id: int
    ranges: list[Range]
    offset: int
    lengths: list[int]
    #: Before each record, how many bytes of the commit come before it.
    starts: array[int]


def stretches(index: Index, run: str, *, ordered: bool) -> Iterator[Stretch]:
    """Yield all of the run's records. Memory does not grow with the run."""
    _check_count(index, run)
    load = lru_cache(maxsize=_KEPT_COMMITS)(lambda number: _load(index, number))
    if ordered:
        for first, end, commits, count in _batches(index, run):
            found = [stretch for commit in commits for stretch in _within(load(commit), first, end)]
            if sum(len(stretch.lengths) for stretch in found) != count or len(set(commits)) != len(commits):
                raise disk_errors.index_damaged(index.path, f"items {first} to {end - 1} have not {count} records")
            yield from sorted(found)
        return
    for commit in _commits(index, run):
        yield from _within(_load(index, commit), 0, None)


def read_stretches(index: Index, wanted: Iterator[Stretch]) -> Iterator[tuple[Stretch, bytes]]:
    """Read the records' bytes. Raises OutputMissing, OutputShortened."""
    held: list[Stretch] = []

    def places() -> Iterator[RecordLocation]:
        for stretch in wanted:
            held.append(stretch)
            yield RecordLocation(stretch.first, stretch.offset, sum(stretch.lengths), stretch.commit)

    for _, data in read_records(index, places()):
        yield held.pop(), data


def _commits(index: Index, run: str) -> Iterator[int]:
    after = 0
    while True:
        with index.reading() as connection:
            found = connection.execute(
                "SELECT id FROM commits WHERE run = ? AND id > ? ORDER BY id LIMIT ?",
                (find_run(connection, run).id, after, PAGE_ROWS),
            ).fetchall()
        if not found:
            return
        yield from (number for (number,) in found)
        after = found[-1][0]


def _check_count(index: Index, run: str) -> None:
    """Raise IndexForeign unless the run's commits hold as many records as it is said to have."""
    with index.reading() as connection:
        row = find_run(connection, run)
        (held,) = connection.execute("SELECT coalesce(sum(items), 0) FROM commits WHERE run = ?", (row.id,)).fetchone()
        if held != row.done:
            raise ValueError(f"run {run} has {row.done} records, but its commits hold {held}")


def _batches(index: Index, run: str) -> Iterator[tuple[int, int, list[int], int]]:
    """Each batch's first item, the one after its last, the commits that hold its records, and how many those are."""
    after = -1
    while True:
        with index.reading() as connection:
            row = find_run(connection, run)
            found = connection.execute(
                "SELECT number, left, commits, (SELECT count(*) FROM failures WHERE failures.run = batches.run "
                "AND item >= number * ?1 AND item < number * ?1 + ?1) FROM batches "
                "WHERE run = ?2 AND number > ?3 ORDER BY number LIMIT ?4",
                (row.batch_size, row.id, after, PAGE_ROWS),
            ).fetchall()
            held = []
            for number, left, commits, failed in found:
                if not after < number < -(-row.items // row.batch_size):
                    raise ValueError(f"run {run} has no batch {number} behind {after}")
                after = number
                held.append((number * row.batch_size, unpack(commits), row.batch_items(number) - left - failed))
        if not found:
            return
        for first, numbers, count in held:
            yield first, first + row.batch_size, numbers, count


def _load(index: Index, number: int) -> _Commit:
    with index.reading() as connection:
        row = read_commit(connection, number)
        held, sizes = row.records()
        return _Commit(number, held, row.offset, sizes, array("Q", accumulate(sizes, initial=0)))


def _within(commit: _Commit, first: int, end: int | None) -> Iterator[Stretch]:
    """The commit's records of the items from `first` to before `end`."""
    place = 0
    for low, high in commit.ranges:
        begin, stop = max(low, first), high if end is None else min(high, end)
        if begin < stop:
            at = place + begin - low
            yield Stretch(begin, commit.offset + commit.starts[at], commit.lengths[at : at + stop - begin], commit.id)
        place += high - low
