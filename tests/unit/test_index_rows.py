"""The rows of the index's tables: what they say, and which of them contradict themselves."""

from __future__ import annotations

import pytest

from sheaf.core.ranges import pack, pack_ranges
from sheaf.output.index.rows import BatchRow, CommitRow, Failure, RunRow, Size

COMMIT = CommitRow(
    id=3,
    run=1,
    items=4,
    low=2,
    high=9,
    ranges=pack_ranges([(2, 5), (9, 10)]),
    lengths=pack([10, 0, 5, 7]),
    offset=100,
    length=22,
    checksum=4711,
    worker=1,
    token=1,
    at=0.0,
)
RUN = RunRow(1, "r-1", 10, 4, 5, 2, 32, 1, 1.0, 2.0)


def test_a_run_is_finished_when_no_item_is_open() -> None:
    assert (RUN.open, RUN.finished, RUN.size) == (3, False, Size(10, 4))
    assert RUN._replace(done=7, failed=3).finished
    assert not RUN._replace(done=9, failed=3).finished, "more than there are is damage, not an end"


def test_the_last_batch_is_as_long_as_what_is_left() -> None:
    size = Size(10, 4)
    assert [size.batch_items(number) for number in range(size.batches)] == [4, 4, 2]
    assert Size(8, 4).batches == 2
    assert Size(0, 4).batches == 0


def test_a_commit_says_which_items_it_holds_and_how_long_their_records_are() -> None:
    assert COMMIT.records() == ([(2, 5), (9, 10)], [10, 0, 5, 7])
    header = COMMIT._replace(run=None, items=0, low=None, high=None, ranges=b"", lengths=b"")
    assert header.records() == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        {"items": 5},
        {"length": 23},
        {"low": 1},
        {"high": 10},
        {"lengths": pack([10, 0, 5, 8])},
        {"lengths": pack([10, 0, 5])},
        {"ranges": pack_ranges([(2, 6), (9, 10)])},
        {"ranges": b"\x01\x02\x03\x04\x00\x09\x01"},
        {"ranges": b"\x01\x02"},
        {"ranges": 7},
        {"lengths": "text"},
        {"offset": "100"},
        {"checksum": None},
        {"run": None},
    ],
)
def test_a_commit_that_contradicts_itself_is_not_believed(change: dict[str, object]) -> None:
    """A count, a sum, an edge, a list that does not unpack, a value of another type."""
    with pytest.raises(ValueError, match="commit 3"):
        COMMIT._replace(**change).records()  # type: ignore[arg-type]


def test_the_items_of_such_a_commit_are_made_out_if_that_is_possible() -> None:
    assert COMMIT._replace(length=23).claimed_items() == [(2, 5), (9, 10)]
    assert COMMIT._replace(ranges=b"\x01\x02").claimed_items() == []


def test_a_batch_knows_its_settled_and_its_open_items() -> None:
    batch = BatchRow(1, 0, 2, b"\x06", pack([3, 8]))
    assert (batch.settled_items(4), batch.open_items(4), batch.commit_ids()) == (0b0110, 0b1001, [3, 8])

    complete = BatchRow(1, 0, 0, None, b"")
    assert (complete.settled_items(4), complete.open_items(4), complete.commit_ids()) == (0b1111, 0, [])
    with pytest.raises(TypeError, match="2 items are left"):
        BatchRow(1, 0, 2, None, b"").open_items(4)


@pytest.mark.parametrize(
    ("error", "message", "reason"),
    [
        ("ValueError", "ValueError: bad\nTraceback", "bad"),
        ("ValueError", "bad", "bad"),
        ("Timeout", "TimedOut: late", "late"),
        ("Timeout", "Timeout: TimedOut: twice", "TimedOut: twice"),
    ],
)
def test_a_failures_reason_is_one_line_without_its_class(error: str, message: str, reason: str) -> None:
    """By the name that the class has now, or had in an earlier version."""
    assert Failure(0, error, message, 1, 0.0).reason == reason
