"""What a commit is made of: bundles and single results come to the same, in whatever order they are handed over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.errors import IndexForeign
from sheaf.output.commit.plan import RunResults, gather, plan
from sheaf.output.index.database import Index
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.rows import BatchRow, Size
from sheaf.run.items import Bundle, Done, Failed, Result, Results, record_bytes, settled_count, single_results


def record(index: int, version: int) -> bytes:
    return f"{index}/{version};".encode() * (index % 3)


@st.composite
def handed_over(draw: st.DrawFn) -> Results:
    """Results as workers give them: bundles with and without gaps, single records, failures, items that come twice."""
    results: list[Result | Bundle] = []
    for version in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["range", "list", "done", "failed"]))
        first = draw(st.integers(0, 30))
        indexes: Sequence[int] = range(first, first + draw(st.integers(1, 8)))
        if kind == "list":
            indexes = draw(st.lists(st.integers(0, 40), unique=True, max_size=8))
        if kind in ("range", "list"):
            records = [record(index, version) for index in indexes]
            results.append(Bundle(indexes, list(map(len, records)), memoryview(b"".join(records))))
        elif kind == "done":
            results.append(Done(first, record(first, version)))
        else:
            results.append(Failed(first, "E", str(version), 1))
    return results


def content(group: RunResults) -> dict[int, bytes]:
    """Each item's record, as the index would find it."""
    whole = b"".join(group.done.buffers)
    ends = itertools.accumulate(group.done.lengths)
    return {
        index: whole[end - length : end]
        for index, length, end in zip(group.done.indexes, group.done.lengths, ends, strict=True)
    }


@given(handed_over())
def test_bundles_are_gathered_as_single_results_are(results: Results) -> None:
    """Sorted, each item once, the first result of it; nothing but the number of objects differs."""
    expected: dict[int, Result] = {}
    singles = list(single_results(results))
    for result in singles:
        expected.setdefault(result.index, result)

    group = gather("run", results)

    done = {index: result.record for index, result in sorted(expected.items()) if isinstance(result, Done)}
    assert content(group) == done
    assert group.done.indexes == list(done)
    assert group.failed == [expected[index] for index in sorted(expected) if isinstance(expected[index], Failed)]
    assert group.duplicates == len(singles) - len(expected)
    assert all(first < end for first, end in group.done.ranges)
    assert settled_count(results) == len(singles)
    assert record_bytes(results) == sum(len(result.record) for result in singles if isinstance(result, Done))


def test_bundles_of_two_children_stay_few_buffers() -> None:
    """Spans of items that interleave are put in order without a look at each item."""
    records = b"x" * 8000
    ours = Bundle([0, 1, 4, 5], [2000] * 4, records)
    theirs = Bundle(range(2, 4), [4000] * 2, records)

    group = gather("run", [ours, theirs])

    assert group.done.ranges == [(0, 6)]
    assert group.done.lengths == [2000, 2000, 4000, 4000, 2000, 2000]
    assert b"".join(group.done.buffers) == records * 2


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexReader]:
    """Knows a run of 10 items in batches of 4; settled are 1 and 2, by commit 7, and all of the last batch."""
    database = Index(tmp_path / "pages.txt", wait_s=60.0)
    database.create(b"")
    writer = database.begin()
    writer.add_run("run", Size(10, 4), at=1.0)
    run = writer.run("run")
    writer.write_batches([BatchRow(run.id, 0, 2, b"\x06", b"\x01\x07"), BatchRow(run.id, 2, 0, None, b"\x01\x07")])
    writer.count(run, done=4, failed=0, length=0, complete_below=0, at=1.0)
    yield writer
    database.roll_back()
    database.drop()


def test_what_is_settled_is_dropped_and_the_rest_keeps_its_records(index: IndexReader) -> None:
    """Records and failures, whichever it was settled as; what is dropped counts as a duplicate."""
    results: Results = [Bundle(range(4), [2] * 4, b"aabbccdd"), Failed(8, "E", "", 1), Failed(5, "E", "", 1)]

    commit = plan(index, gather("run", results))

    assert commit.done.indexes == [0, 3]
    assert b"".join(commit.done.buffers) == b"aadd"
    assert [failure.index for failure in commit.failed] == [5]
    assert (commit.duplicates, commit.settled, commit.length) == (3, 3, 4)
    assert commit.masks == {0: 0b1001, 1: 0b10}
    assert commit.done_masks == {0: 0b1001}
    assert commit.settled_before == {0: 0b0110, 1: 0, 2: 0b11}
    assert not commit.finishes


def test_the_last_open_items_finish_the_run(index: IndexReader) -> None:
    results = [Done(item, b"") for item in (0, 3, 4, 5, 6)]
    assert not plan(index, gather("run", results)).finishes
    assert plan(index, gather("run", [*results, Failed(7, "E", "", 1)])).finishes


def test_an_item_that_the_run_does_not_have_is_refused(index: IndexReader) -> None:
    """Also a failed one."""
    for results in ([Done(10, b"")], [Failed(-1, "E", "", 1)]):
        with pytest.raises(ValueError, match="run run has 10 items"):
            plan(index, gather("run", results))


def test_a_run_that_the_index_does_not_know_is_refused(index: IndexReader) -> None:
    with pytest.raises(IndexForeign, match="does not know the run other"):
        plan(index, gather("other", [Done(0, b"")]))
