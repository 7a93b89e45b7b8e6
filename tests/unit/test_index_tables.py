"""The index's tables: what the writer writes is what the reader reads, and no row of another run is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign
from sheaf.core.ranges import pack, pack_ranges
from sheaf.output.index.database import Index
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.rows import BatchRow, CommitRow, RunRow, Size, WorkerShare
from sheaf.output.index.writer import IndexWriter
from sheaf.run.items import Failed

HEADER = b"HEADER\n"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[IndexWriter]:
    """In a transaction, with the runs "one" and "two", of 10 items in batches of 4."""
    index = Index(tmp_path / "pages.txt", wait_s=60.0)
    index.create(HEADER)
    made = index.begin()
    for number, name in enumerate(("one", "two"), start=1):
        made.add_run(name, Size(10, 4), at=float(number))
    yield made
    index.roll_back()
    index.drop()


def a_commit(run: RunRow, first: int, offset: int = 0, worker: int = 1) -> CommitRow:
    """Of two items, with a byte each."""
    ranges, lengths = pack_ranges([(first, first + 2)]), pack([1, 1])
    return CommitRow(0, run.id, 2, first, first + 1, ranges, lengths, offset, 2, 7, worker, 1, 5.0)


def test_the_state_is_that_of_the_last_commit(writer: IndexWriter) -> None:
    """Its token is the highest ever: a lock that Redis forgot goes on from there."""
    state = writer.state()
    assert (state.output, state.header, state.length, state.seals) == ("pages.txt", HEADER, 0, 0)

    writer.set_file(100, "1:2", (3, 4), token=9)
    writer.set_file(200, "1:2", (5, 6), token=8)
    writer.seal()

    assert writer.state() == state._replace(length=200, token=9, identity="1:2", head=5, tail=6, seals=1)
    writer.set_identity("7:8")
    assert writer.state().identity == "7:8"


def test_a_run_is_known_from_when_it_is_added(writer: IndexWriter) -> None:
    """Adding it again changes nothing."""
    writer.add_run("one", Size(99, 9), at=77.0)

    assert writer.runs() == [
        RunRow(1, "one", 10, 4, 0, 0, 0, 0, 1.0, 0.0),
        RunRow(2, "two", 10, 4, 0, 0, 0, 0, 2.0, 0.0),
    ]
    assert writer.run("two") == writer.find_run("two") == writer.runs()[1]
    assert writer.find_run("three") is None
    with pytest.raises(IndexForeign, match="does not know the run three"):
        writer.run("three")


def test_a_runs_counters_grow(writer: IndexWriter) -> None:
    one, two = writer.runs()
    writer.count(one, done=3, failed=1, length=50, complete_below=1, at=8.0)
    writer.count(one, done=2, failed=0, length=5, complete_below=1, at=9.0)
    writer.uncount_failures(one, 1, complete_below=0)

    assert writer.run("one") == one._replace(done=5, bytes=55, last_commit=9.0)
    assert writer.run("two") == two

    writer.replace_counters(two.id, Size(8, 2), done=1, failed=2, length=3, complete_below=4)
    assert writer.run("two") == two._replace(items=8, batch_size=2, done=1, failed=2, bytes=3, complete_below=4)


def test_batches_are_inserted_and_replaced(writer: IndexWriter) -> None:
    one, two = writer.runs()
    first, last = BatchRow(one.id, 0, 2, b"\x03", b""), BatchRow(one.id, 2, 0, None, pack([4]))
    theirs = BatchRow(two.id, 0, 1, b"\x07", b"")
    writer.write_batches([first, last, theirs])

    assert writer.batches(one, [0, 1, 2]) == {0: first, 2: last}
    assert (writer.batch(one, 2), writer.batch(one, 1)) == (last, None)

    complete = first._replace(left=0, settled=None)
    writer.write_batches([complete])
    assert list(writer.batches_of(one.id)) == [complete, last]

    writer.replace_batches(one.id, [first])
    assert list(writer.batches_of(one.id)) == [first]
    assert list(writer.batches_of(two.id)) == [theirs]


def test_complete_batches_are_found_and_passed(writer: IndexWriter) -> None:
    run = writer.run("one")
    rows = [BatchRow(run.id, number, left, b"", b"") for number, left in ((0, 0), (1, 0), (2, 3), (4, 0))]
    writer.write_batches(rows)

    assert writer.complete_batches(run, 0, limit=9) == [0, 1, 4]
    assert writer.complete_batches(run, 1, limit=1) == [1]
    assert [writer.first_incomplete(run, number) for number in (0, 2, 3, 4)] == [2, 2, 3, 5]


def test_commits_are_read_by_number_by_run_and_in_pages(writer: IndexWriter) -> None:
    one, two = writer.runs()
    assert writer.last_commit() == 0
    numbers = [writer.add_commit(a_commit(run, first)) for run, first in ((one, 0), (two, 0), (one, 4), (one, 8))]

    assert numbers == [1, 2, 3, 4]
    assert writer.last_commit() == 4
    assert writer.commit(3) == a_commit(one, 4)._replace(id=3)
    assert [row.id for row in writer.commits()] == [1, 2, 3, 4]
    assert [row.id for row in writer.commits(after=1, last=3)] == [2, 3]
    assert [row.id for row in writer.commits(after=1, limit=1)] == [2]
    assert [row.id for row in writer.commits_of(one, after=1, limit=9)] == [3, 4]
    assert writer.commit_ids_of(one, after=0, limit=2) == [1, 3]
    assert [row.id for row in writer.all_commits_of(one.id)] == [1, 3, 4]
    assert (writer.committed_items(one), writer.committed_items(two)) == (6, 2)
    with pytest.raises(ValueError, match="commit 5 is not there"):
        writer.commit(5)


def test_a_commit_that_is_removed_leaves_its_workers_share(writer: IndexWriter) -> None:
    one = writer.run("one")
    worker, other = writer.worker_id("w"), writer.worker_id("v")
    assert (worker, other, writer.worker_id("w")) == (1, 2, 1)
    for first, offset in ((0, 0), (4, 2)):
        writer.add_commit(a_commit(one, first, offset, worker))
        writer.credit(one, worker, 2, 2)
    writer.credit(one, other, 9, 90)

    writer.remove_commit(writer.commit(1))
    writer.move_commit(2, 0)

    assert list(writer.commits()) == [a_commit(one, 4, 0, worker)._replace(id=2)]
    assert writer.shares(one) == [WorkerShare("v", 9, 90, 1), WorkerShare("w", 2, 2, 1)]


def test_failures_are_read_in_the_items_order_and_by_choice(writer: IndexWriter) -> None:
    """By the name of today for their class; chosen by either name."""
    one, two = writer.runs()
    writer.add_failures(one, [Failed(9, "A", "nine", 2), Failed(3, "TimedOut", "", 1), Failed(5, "B", "", 1)], at=6.0)
    writer.add_failures(two, [Failed(5, "A", "", 1)], at=6.0)

    assert [(row.index, row.error) for row in writer.failures(one, -1, 9)] == [(3, "Timeout"), (5, "B"), (9, "A")]
    assert [row.index for row in writer.failures(one, 3, 1)] == [5]
    nine = writer.failure(one, 9)
    assert nine is not None and (nine.message, nine.attempts, nine.at) == ("nine", 2, 6.0)
    assert writer.failure(two, 9) is None
    assert list(writer.failed_items(one.id)) == [3, 5, 9]
    assert list(writer.failed_items(one.id, ["Timeout", "B"])) == [3, 5]
    assert list(writer.failed_items(one.id, ["B"], [3, 9])) == []

    writer.remove_failures(one, ["Timeout"], [])
    writer.remove_failures(one, [], [9])
    assert list(writer.failed_items(one.id)) == [5]
    assert list(writer.failed_items(two.id)) == [5]


def test_batches_come_with_how_many_of_their_items_failed(writer: IndexWriter) -> None:
    run = writer.run("one")
    rows = [BatchRow(run.id, number, 0, None, b"") for number in range(3)]
    writer.write_batches(rows)
    writer.add_failures(run, [Failed(item, "E", "", 1) for item in (3, 4, 7)], at=0.0)

    assert writer.batches_with_failures(run, -1, 9) == [(rows[0], 1), (rows[1], 2), (rows[2], 0)]
    assert writer.batches_with_failures(run, 0, 1) == [(rows[1], 2)]


def test_a_message_is_kept_as_text_of_limited_length(writer: IndexWriter) -> None:
    """Lone surrogates are escaped: SQLite takes no others."""
    run = writer.run("one")
    writer.add_failures(run, [Failed(0, "E\ud800", "x" * 10_007, 1)], at=0.0)

    (failure,) = writer.failures(run, -1, 1)
    assert failure.error == "E\\ud800"
    assert failure.message == "x" * 10_000 + " … (7 more characters)"


def test_a_run_can_be_renamed_by_its_bytes(writer: IndexWriter) -> None:
    assert writer.raw_names() == [(1, b"one"), (2, b"two")]
    writer.rename_run(1, "zwei")
    writer.rebuild_lookups()
    assert writer.raw_names() == [(2, b"two"), (1, b"zwei")]
    assert writer.damage() is None


def test_rows_of_failures_are_removed_one_by_one(writer: IndexWriter) -> None:
    run = writer.run("one")
    writer.add_failures(run, [Failed(item, "E", "", 1) for item in (3, 4, 7)], at=0.0)

    writer.remove_failure_rows([number for number, item in writer.failure_rows(run.id) if item != 4])

    assert list(writer.failed_items(run.id)) == [4]


def test_a_reader_sees_what_was_committed_and_no_more(writer: IndexWriter, tmp_path: Path) -> None:
    """The writer's own rows appear with its commit."""
    other = Index(tmp_path / "pages.txt", wait_s=60.0)
    with other.reading() as reader:
        assert type(reader) is IndexReader
        assert reader.runs() == []
        assert reader.damage() is None
    other.drop()
