"""The commit: exactly once, all or nothing, and what the index knows afterwards."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign, OutputError, OutputPathError, UsageError
from sheaf.output.output import Output
from sheaf.run.items import Batch, Done, Failed

RUN = "20260101-000000-abcdef"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    output = Output.create(tmp_path / "pages.txt", header=b"HEADER\n")
    output.register_run(RUN, items=10, batch_size=4)
    yield output
    output.close()


def done(*indexes: int) -> list[Done]:
    return [Done(index, b"record %d\n" % index) for index in indexes]


def test_a_commit_appends_the_records_in_the_items_order_behind_the_header(output: Output) -> None:
    """The header once, before the first group; then each group, its records sorted by item."""
    first = output.commit({RUN: done(3, 1)}, worker="w", token=5)
    second = output.commit({RUN: done(0)}, worker="w", token=6)

    assert output.path.read_bytes() == b"HEADER\nrecord 1\nrecord 3\nrecord 0\n"
    assert first.committed == {RUN: [(1, 2), (3, 4)]}
    assert second.length == output.path.stat().st_size
    output.commit({RUN: done(5)}, worker="late", token=2)
    assert output.reader.state().token == 6


def test_an_item_is_settled_once_whoever_brings_it_again(output: Output) -> None:
    """Done twice, failed after done, done after failed, twice in one call: the first wins."""
    output.commit({RUN: [*done(1), Failed(2, "Timeout", "too slow", 3)]}, worker="a", token=1)

    receipt = output.commit(
        {RUN: [Failed(1, "Late", "", 1), Done(2, b"late\n"), Done(5, b"first\n"), Done(5, b"second\n")]},
        worker="b",
        token=1,
    )

    assert (receipt.committed, receipt.failed, receipt.duplicates) == ({RUN: [(5, 6)]}, {RUN: []}, 3)
    assert output.path.read_bytes() == b"HEADER\nrecord 1\nfirst\n"
    assert [(failure.index, failure.error) for failure in output.reader.failures(RUN)] == [(2, "Timeout")]


def test_a_group_of_several_runs_is_one_commit(output: Output) -> None:
    """All runs of a group are settled together; each finds its own records."""
    output.register_run("other", items=2, batch_size=10)

    receipt = output.commit({"other": done(0, 1), RUN: done(7)}, worker="w", token=1)

    assert receipt.finished_runs == ["other"]
    assert list(output.records.all("other")) == [(0, b"record 0\n"), (1, b"record 1\n")]
    assert list(output.records.all(RUN)) == [(7, b"record 7\n")]


def test_the_index_knows_what_is_left(output: Output) -> None:
    """Open items of a batch and open batches of a run, touched or not, until nothing is left."""
    output.commit({RUN: [*done(0, 1, 2, 3, 5), Failed(8, "E", "m", 1)]}, worker="w", token=1)

    assert output.reader.remaining(RUN, Batch(RUN, 0, 0, 4)) == []
    assert output.reader.remaining(RUN, Batch(RUN, 1, 4, 4)) == [4, 6, 7]
    assert output.reader.remaining(RUN, Batch(RUN, 2, 8, 2)) == [9]
    assert list(output.reader.unfinished_batches(RUN)) == [1, 2]

    receipt = output.commit({RUN: done(*range(10))}, worker="v", token=1)

    assert receipt.finished_runs == [RUN]
    assert [output.records.one(RUN, index) for index in (0, 5, 4, 9)] == [
        b"record %d\n" % index for index in (0, 5, 4, 9)
    ]
    assert list(output.reader.unfinished_batches(RUN)) == []
    progress = output.reader.run(RUN)
    assert (progress.items, progress.done, progress.failed, progress.finished) == (10, 9, 1, True)
    assert progress.bytes == 81
    assert output.reader.runs() == {RUN: progress}
    assert [(share.worker, share.items, share.bytes) for share in output.reader.shares(RUN)] == [
        ("w", 6, 45),
        ("v", 4, 36),
    ]


def test_a_batch_that_nobody_has_touched_is_open_though_later_ones_are_complete(output: Output) -> None:
    """Batches complete in any order; a gap is not passed over."""
    output.commit({RUN: done(0, 1, 2, 3, 8, 9)}, worker="w", token=1)
    assert list(output.reader.unfinished_batches(RUN)) == [1]

    output.commit({RUN: done(4, 5, 6, 7)}, worker="w", token=1)
    assert list(output.reader.unfinished_batches(RUN)) == []


def test_more_failures_than_are_read_at_once_are_all_listed(tmp_path: Path) -> None:
    """In the items' order, each once."""
    output = Output.create(tmp_path / "failing.txt")
    output.register_run("failing", items=2500, batch_size=100)
    output.commit({"failing": [Failed(index, "E", "", 1) for index in range(2500)]}, worker="w", token=1)

    assert [failure.index for failure in output.reader.failures("failing")] == list(range(2500))
    output.close()


def test_a_write_that_the_kernel_cuts_short_is_continued(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal or a nearly full disk makes writes short, in the middle of any record."""
    real = os.pwritev

    def short(descriptor: int, buffers: list[bytes], offset: int) -> int:
        data = b"".join(buffers)
        return real(descriptor, [data[: max(1, len(data) * 2 // 3)]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    records = [bytes([65 + index]) * 5000 for index in range(10)]

    output.commit({RUN: [Done(index, record) for index, record in enumerate(records)]}, worker="w", token=1)

    assert output.path.read_bytes() == b"HEADER\n" + b"".join(records)


def test_a_batch_that_completes_out_of_order_is_not_looked_at_again(tmp_path: Path) -> None:
    """Open batches are listed rightly across more complete ones than are read at once."""
    output = Output.create(tmp_path / "many.txt")
    output.register_run("many", items=5000, batch_size=2)
    output.commit({"many": [Done(index, b"") for index in range(5000) if index not in (10, 4001)]}, worker="w", token=1)

    assert list(output.reader.unfinished_batches("many")) == [5, 2000]
    output.close()


def test_an_item_without_a_record_says_why(output: Output) -> None:
    """Not done yet, failed, or no such item: the message tells which."""
    output.commit({RUN: [Failed(1, "Dns", "no such host", 3), *done(2)]}, worker="w", token=1)

    assert output.records.one(RUN, 2) == b"record 2\n"
    for item, why in ((0, "not done yet"), (1, "Dns: no such host"), (10, "no item 10")):
        with pytest.raises(UsageError, match=why):
            output.records.one(RUN, item)


def test_a_result_of_no_item_of_the_run_commits_nothing(output: Output) -> None:
    """A fault in our own code must not reach the file; and the fence is free again."""
    with pytest.raises(ValueError, match="has 10 items"):
        output.commit({RUN: done(3, 10)}, worker="w", token=1)

    assert output.commit({RUN: done(3)}, worker="w", token=1).committed == {RUN: [(3, 4)]}


def test_a_run_that_the_index_does_not_know_is_refused(output: Output) -> None:
    """It may be the index of another time or place; no item of it can be settled there."""
    with pytest.raises(IndexForeign, match="does not know the run unknown"):
        output.commit({"unknown": done(1)}, worker="w", token=1)
    with pytest.raises(IndexForeign, match="items in batches of"):
        output.register_run(RUN, items=11, batch_size=4)


def test_failures_hold_any_text(output: Output) -> None:
    """Lone surrogates and endless messages come from users' code; neither may stop a commit."""
    output.commit(
        {RUN: [Failed(0, "E", "bad \udc80 byte", 1), Failed(1, "E", "x" * 1_000_000, 1)]}, worker="w", token=1
    )

    first, second = output.reader.failures(RUN)
    assert first.message == "bad \\udc80 byte"
    assert len(second.message) < 10_100
    assert "more characters" in second.message


@pytest.mark.parametrize("size", [0, 1, 60, 4096, 5000, 300_000])
def test_records_of_any_size_are_read_back(output: Output, size: int) -> None:
    """Empty, tiny and joined, large and written as they are; more of them than the kernel takes at once."""
    count = 3 if size > 10_000 else 2500
    output.register_run("sizes", items=count, batch_size=50)
    records = [bytes([index % 256]) * (size + index % 2) for index in range(count)]

    output.commit({"sizes": [Done(index, record) for index, record in enumerate(records)]}, worker="w", token=1)

    assert [record for _, record in output.records.all("sizes")] == records
    assert output.records.one("sizes", count - 1) == records[-1]


def test_creating_an_output_twice_changes_nothing(output: Output) -> None:
    """The second submission into one output finds what is there; its header is not written again."""
    output.commit({RUN: done(1)}, worker="w", token=1)

    again = Output.create(output.path, header=b"ANOTHER\n")

    assert again.commit({RUN: done(2)}, worker="w", token=1).duplicates == 0
    assert output.path.read_bytes() == b"HEADER\nrecord 1\nrecord 2\n"
    again.close()


@pytest.mark.parametrize("step", ["index", "begin", "look"])
def test_a_creation_that_was_cut_short_is_taken_up_again(tmp_path: Path, step: str) -> None:
    """Between the index and the file, and between the file and its mention in the index."""
    with pytest.raises(KeyboardInterrupt):
        Output.create(tmp_path / "x.txt", header=b"H", steps=interrupt_at(step))

    output = Output.create(tmp_path / "x.txt", header=b"H")
    output.register_run(RUN, 1, 1)
    output.commit({RUN: done(0)}, worker="w", token=1)

    assert output.path.read_bytes() == b"Hrecord 0\n"
    output.close()


def interrupt_at(wanted: str) -> Callable[[str], None]:
    def step(name: str) -> None:
        if name == wanted:
            raise KeyboardInterrupt

    return step


def test_an_index_that_was_only_begun_is_taken_up_again(tmp_path: Path) -> None:
    """A crash right after the index's file was created leaves it empty."""
    (tmp_path / "x.txt.index").touch()
    with pytest.raises(OutputError, match="no output"):
        Output(tmp_path / "x.txt").reader.state()

    Output.create(tmp_path / "x.txt").close()


def test_what_the_group_may_write_the_whole_group_may_write(tmp_path: Path) -> None:
    """Containers with other users share one group: file, index and side files must be open to it. SQLite alone
    would create its files for the owner only."""
    before = os.umask(0o002)
    try:
        output = Output.create(tmp_path / "x.txt")
        output.register_run(RUN, 1, 1)
        output.commit({RUN: done(0)}, worker="w", token=1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        output.close()
    finally:
        os.umask(before)

    assert set(modes) == {"x.txt", "x.txt.index", "x.txt.index-shm", "x.txt.index-wal", "x.txt.intent"}
    assert set(modes.values()) == {0o664}


def test_an_output_that_cannot_be_created_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """No folder, no regular file: the message names it."""
    (tmp_path / "folder.txt").mkdir()
    for path, why in ((tmp_path / "no" / "x.txt", "create the folder first"), (tmp_path / "folder.txt", "regular")):
        with pytest.raises(OutputPathError, match=why):
            Output.create(path)

    assert [path.name for path in tmp_path.iterdir()] == ["folder.txt"]


def test_readers_see_a_commit_only_when_it_is_whole(output: Output) -> None:
    """A second object reads while the first is in mid-commit: the old state before COMMIT, the new one after."""
    reader = Output(output.path)
    seen: dict[str, int] = {}
    writer = Output(output.path, steps=lambda name: seen.update({name: reader.reader.run(RUN).done}))

    writer.commit({RUN: done(1, 2)}, worker="w", token=1)

    assert {name: count for name, count in seen.items() if name != "commit"} == dict.fromkeys(
        seen.keys() - {"commit"}, 0
    )
    assert seen["commit"] == 2
    assert {"begin", "look", "plan", "note", "append", "sync", "entries"} < seen.keys()
    for each in (reader, writer):
        each.close()
