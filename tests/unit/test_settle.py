"""What a commit is made of: bundles and single results come to the same, in whatever order they are handed over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sheaf.output.commit.plan import RunResults, gather
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
    whole = b"".join(group.done.pieces)
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


def test_bundles_of_two_children_stay_few_pieces() -> None:
    """Stretches that interleave are put in order without a look at each item."""
    records = b"x" * 8000
    ours = Bundle([0, 1, 4, 5], [2000] * 4, records)
    theirs = Bundle(range(2, 4), [4000] * 2, records)

    group = gather("run", [ours, theirs])

    assert group.done.ranges == [(0, 6)]
    assert group.done.lengths == [2000, 2000, 4000, 4000, 2000, 2000]
    assert b"".join(group.done.pieces) == records * 2
