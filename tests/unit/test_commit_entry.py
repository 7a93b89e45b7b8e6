"""The rows that a commit writes: by whom and when, which batches, which records, and how far the run is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign
from sheaf.output.commit import entry
from sheaf.output.commit.plan import plan, prepare
from sheaf.output.index.database import Index
from sheaf.output.index.rows import RunRow, Size, WorkerShare
from sheaf.output.index.writer import IndexWriter
from sheaf.output.output import Output
from sheaf.run.items import Done, Failed, Results

RUN = "r-1"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[IndexWriter]:
    """In a transaction, with a run of 10 items in batches of 4."""
    index = Index(tmp_path / "pages.txt", wait_s=60.0)
    index.create(b"")
    made = index.begin()
    made.add_run(RUN, Size(10, 4), at=1.0)
    yield made
    index.roll_back()
    index.drop()


def write(writer: IndexWriter, results: Results, offset: int, worker: str = "w") -> RunRow:
    """Note a commit of these results; return the run's row afterwards."""
    (group,) = prepare({RUN: results})
    entry.write(writer, plan(writer, group), offset, entry.stamp_now(writer, worker, token=7))
    return writer.run(RUN)


def test_a_commit_is_noted_with_its_records_and_their_place(writer: IndexWriter) -> None:
    write(writer, [Done(5, b"five\n"), Done(0, b"zero!\n"), Done(1, b"")], offset=100)

    (row,) = writer.commits()
    assert row.records() == ([(0, 2), (5, 6)], [6, 0, 5])
    assert (row.items, row.low, row.high, row.offset, row.length, row.token) == (3, 0, 5, 100, 11, 7)


def test_each_touched_batch_is_noted_with_its_items_and_commits(writer: IndexWriter) -> None:
    """Failures settle items, and have no commit that holds their records."""
    write(writer, [Done(1, b"a"), Failed(9, "E", "m", 2)], offset=0)
    write(writer, [Done(0, b"b"), Done(8, b"c")], offset=1)

    run = writer.run(RUN)
    rows = writer.batches(run, range(3))
    assert sorted(rows) == [0, 2]
    assert (rows[0].left, rows[0].settled_items(4), rows[0].commit_ids()) == (2, 0b11, [1, 2])
    assert (rows[2].left, rows[2].settled, rows[2].commit_ids()) == (0, None, [2])


def test_the_runs_counters_and_the_workers_shares_grow_with_it(writer: IndexWriter) -> None:
    write(writer, [Done(0, b"abc"), Failed(1, "E", "m", 1)], offset=0)
    run = write(writer, [Done(2, b"de")], offset=3, worker="v")

    assert (run.done, run.failed, run.bytes) == (2, 1, 5)
    assert run.last_commit > run.started
    assert writer.shares(run) == [WorkerShare("w", 2, 3, 1), WorkerShare("v", 1, 2, 1)]


def test_what_is_complete_from_the_start_is_passed_by_searches(writer: IndexWriter) -> None:
    """Only without a gap: a complete batch after an open one is not, until that one is."""
    assert write(writer, [Done(index, b"") for index in range(4, 8)], offset=0).complete_below == 0
    assert write(writer, [Done(index, b"") for index in range(4)], offset=0).complete_below == 2
    assert write(writer, [Done(index, b"") for index in (8, 9)], offset=0).complete_below == 3


def test_a_header_is_a_commit_of_no_run(writer: IndexWriter) -> None:
    entry.write_header(writer, b"HEADER\n", entry.stamp_now(writer, "w", 1))

    (row,) = writer.commits()
    assert (row.run, row.items, row.offset, row.length) == (None, 0, 0, 7)
    assert row.records() == ([], [])


def test_a_commit_of_failures_only_has_no_row_among_the_commits(writer: IndexWriter) -> None:
    run = write(writer, [Failed(3, "E", "m", 2)], offset=0)

    assert list(writer.commits()) == []
    assert [(failure.index, failure.attempts) for failure in writer.failures(run, -1, 9)] == [(3, 2)]


@pytest.mark.parametrize("change", ["settled = 'text'", "commits = 'text'", "commits = x'07'"])
def test_a_damaged_row_of_a_batch_refuses_the_commit(tmp_path: Path, change: str) -> None:
    """It is an error that says so, not a bug of the worker's; and the file is as it was."""
    output = Output.create(tmp_path / "pages.txt")
    output.register_run(RUN, 10, 4)
    output.commit({RUN: [Done(0, b"zero\n")]}, worker="w", token=1)
    with closing(sqlite3.connect(f"{output.path}.index", isolation_level=None)) as connection:
        connection.execute(f"UPDATE batches SET {change}")

    with pytest.raises(IndexForeign, match="sheaf repair"):
        output.commit({RUN: [Done(1, b"one\n")]}, worker="w", token=1)

    assert output.path.read_bytes() == b"zero\n"
    assert output.reader.run(RUN).done == 1
    output.close()
