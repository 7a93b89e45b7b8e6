"""Records are found by their item, one, all or by the commit, and every commit is checked once before it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import OutputDamaged, OutputError, OutputMissing, OutputShortened, UsageError
from sheaf.output.commit.data_file import checksum_of
from sheaf.output.output import Output
from sheaf.output.read import records as records_module
from sheaf.output.read.records import CommitSlice, RecordLocation, RecordReader
from sheaf.run.items import Done, Failed
from tests.patches import noting

RUN = "r-1"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    """Commit 1 is the header, 2 holds the items 4 and 5, 3 the items 0 and 3; 1 failed, 2 is open."""
    made = Output.create(tmp_path / "pages.txt", header=b"HEADER\n")
    made.register_run(RUN, 6, 2)
    made.commit({RUN: [Done(5, b"five\n"), Done(4, b"four\n")]}, worker="w", token=1)
    made.commit({RUN: [Done(3, b"three\n"), Done(0, b""), Failed(1, "E", "E: bad\nmore", 1)]}, worker="w", token=1)
    yield made
    made.close()


@pytest.fixture
def records(output: Output) -> RecordReader:
    return output.records


def test_a_record_is_found_by_its_item(records: RecordReader) -> None:
    """Also an empty one."""
    assert records.locate(RUN, 5) == RecordLocation(5, offset=12, length=5, commit=2)
    assert records.locate(RUN, 3) == RecordLocation(3, offset=17, length=6, commit=3)
    assert [records.one(RUN, item) for item in (0, 3, 4, 5)] == [b"", b"three\n", b"four\n", b"five\n"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (6, "has items 0 to 5, but no item 6"),
        (-1, "but no item -1"),
        (2, "is not done yet, so it has no record"),
        (1, "failed, so it has no record: E: bad"),
    ],
)
def test_an_item_without_a_record_has_a_reason(records: RecordReader, item: int, words: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(words)}(;|$)"):
        records.one(RUN, item)


def test_all_come_in_the_files_order(records: RecordReader) -> None:
    assert list(records.all(RUN)) == [(4, b"four\n"), (5, b"five\n"), (0, b""), (3, b"three\n")]


def test_what_is_new_since_a_commit_comes_by_commit(records: RecordReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a page of them at once."""
    first, second = records.slices(RUN)
    assert (first.commit, first.indexes, records.read_slice(first)) == (2, [4, 5], b"four\nfive\n")
    assert (second.commit, second.indexes, records.read_slice(second)) == (3, [0, 3], b"three\n")
    assert records.slices(RUN, after=2) == [second]
    assert records.slices(RUN, after=3) == []

    monkeypatch.setattr(records_module, "PAGE_ROWS", 1)
    assert records.slices(RUN) == [first]


def test_a_commit_is_checked_once_however_many_records_are_read(
    records: RecordReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    watched = noting(checksum_of, lambda _source, offset, _length: checked.append(offset))
    monkeypatch.setattr(records_module, "checksum_of", watched)

    locations = [records.locate(RUN, item) for item in (5, 0, 4, 3, 5)]
    assert [item for item, _ in records.read(iter(locations))] == [5, 0, 4, 3, 5]

    assert checked == [7, 17]


def test_bytes_that_are_not_those_committed_are_not_read(output: Output, records: RecordReader) -> None:
    """Changed, gone, or the whole file gone: each says so, and other commits can still be read."""
    whole = output.path.read_bytes()
    (first, _) = records.slices(RUN)

    output.path.write_bytes(whole.replace(b"four", b"fouR"))
    reads: list[Callable[[], bytes]] = [lambda: records.one(RUN, 4), lambda: records.read_slice(first)]
    for read in reads:
        with pytest.raises(OutputDamaged, match="commit 2 of"):
            read()
    assert records.one(RUN, 3) == b"three\n"

    output.path.write_bytes(whole[:15])
    for read in reads:
        with pytest.raises(OutputShortened, match="ends within commit 2, at byte 15"):
            read()

    output.path.unlink()
    with pytest.raises(OutputMissing, match="is gone, but its index"):
        records.one(RUN, 4)
    output.path.mkdir()
    with pytest.raises(OutputError, match="cannot be read: Is a directory"):
        records.one(RUN, 4)


def test_a_slice_names_the_items_of_its_commit(output: Output) -> None:
    with output._index.reading() as index:
        assert CommitSlice.of(index.commit(3)).indexes == [0, 3]
