"""A run on the volume: whole or not there, and any batch of it is one seek away."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.errors import RunNotFound, UsageError
from sheaf.run.items import Batch, Item, parse_batch_id
from sheaf.run.run import Manifest, Run, RunWriter, list_runs
from sheaf.run.task_spec import TaskSpec
from tests import runs


def write_run(data_dir: Path, items: list[str], batch_size: int = 7, name: str = runs.RUN) -> Run:
    spec = TaskSpec("load", {"connections": 3})
    return runs.write_run(data_dir, items, name, spec, output="pages.warc.gz", batch_size=batch_size)


@settings(max_examples=40, deadline=None)
@given(
    items=st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), min_size=1, max_size=120
    ),
    batch_size=st.integers(1, 50),
)
def test_the_batches_of_a_run_hold_its_items_in_order(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], batch_size: int
) -> None:
    """Whatever the batch size, reading all batches gives back every item with its index."""
    run = write_run(tmp_path_factory.mktemp("data"), items, batch_size)

    read = [item for number in range(run.manifest.batches) for item in run.items(run.manifest.batch(number))]

    assert read == [Item(index, text) for index, text in enumerate(items)]
    assert list(run.all_items()) == read


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.text("aé€\r\u2028", max_size=9), min_size=1, max_size=90),
    cuts=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    wanted=st.tuples(st.integers(0, 89), st.integers(1, 90)),
)
def test_items_written_in_bulk_are_found_like_those_written_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], cuts: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """Any part of the list is read with its indexes, wherever it begins; the run's digest is the same either way."""
    data_dir = tmp_path_factory.mktemp("data")
    one_by_one = write_run(data_dir, items, name="one-by-one")
    writer = RunWriter(data_dir, "in-bulk")
    for first, end in zip((0, *sorted(cuts)), (*sorted(cuts), None), strict=True):
        writer.add_all(items[first:end])
    run = writer.publish(dataclasses.replace(one_by_one.manifest, run="in-bulk", fingerprint=writer.digest))
    first = wanted[0] % len(items)
    count = min(wanted[1], len(items) - first)

    assert run.read(Batch("in-bulk", 0, first, count)) == (range(first, first + count), items[first : first + count])
    assert run.manifest.fingerprint == one_by_one.manifest.fingerprint
    assert (run.folder / "items.offsets").read_bytes() == (one_by_one.folder / "items.offsets").read_bytes()


def test_large_items_are_read_without_their_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item of 64 MB must not bring 15 others with it; the texts are the same, one batch or all of them."""
    monkeypatch.setattr("sheaf.run.item_list._TOGETHER_BYTES", 50)
    monkeypatch.setattr("sheaf.run.run._READ_BYTES", 100)
    texts = [f"{number} " + "é" * (number % 9) for number in range(70)]
    run = write_run(tmp_path, texts, batch_size=3)

    assert [text for number in range(24) for text in run.read(run.manifest.batch(number))[1]] == texts
    assert [item.text for item in run.all_items()] == texts


def test_a_range_of_numbers_takes_no_room(tmp_path: Path) -> None:
    """A hundred million items are a manifest and nothing else; any batch of them is there at once."""
    writer = RunWriter(tmp_path, "numbers")
    writer.set_numbers(range(10, 500_000_010, 5))
    manifest = Manifest(
        "numbers", TaskSpec("load"), "o.jsonl", writer.items, 10_000, writer.digest, "", numbers=writer.numbers
    )
    run = Run.open(tmp_path, writer.publish(manifest).manifest.run)

    assert run.manifest == manifest
    assert run.manifest.items == 100_000_000
    assert run.read(run.manifest.batch(9_999))[1][-1] == "500000005"
    assert run.items(Batch("numbers", 0, 2, 2)) == [Item(2, "20"), Item(3, "25")]
    assert sum(path.stat().st_size for path in run.folder.iterdir()) < 4096


def test_a_list_that_was_cut_short_is_not_taken_for_empty_items(tmp_path: Path) -> None:
    """Work on items that were not submitted would be worse than none."""
    run = write_run(tmp_path, [f"item {number}" for number in range(40)], batch_size=40)
    path = run.folder / "items"
    whole = path.read_bytes()
    for cut, what in ((63, "ends before item 39"), (60, "in the middle of a line"), (0, "ends before item 39")):
        path.write_bytes(whole[:cut])
        with pytest.raises(RunNotFound, match=what):
            run.items(run.manifest.batch(0))
    path.unlink()
    with pytest.raises(RunNotFound, match="is gone"):
        run.read(run.manifest.batch(0))


def test_a_run_that_is_still_being_written_is_not_found(tmp_path: Path) -> None:
    """A producer that dies in the middle leaves nothing that a worker would take for a run."""
    writer = RunWriter(tmp_path, "half")
    writer.add("http://example.com/")

    assert list_runs(tmp_path) == []
    with pytest.raises(RunNotFound, match="half"):
        Run.open(tmp_path, "half")
    writer.discard()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_published_run_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """The manifest survives the way through the file; a field that only a newer version knows does no harm."""
    written = write_run(tmp_path, ["a", "b"])
    path = written.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"a_later_field": 1}))

    assert Run.open(tmp_path, written.manifest.run).manifest == written.manifest
    assert list_runs(tmp_path) == [written.manifest.run]


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Half understood is not understood."""
    written = write_run(tmp_path, ["a"])
    path = written.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))

    with pytest.raises(RunNotFound, match="newer Sheaf"):
        Run.open(tmp_path, written.manifest.run)


def test_cancelled_and_finished_are_marks_on_the_volume(tmp_path: Path) -> None:
    """A process that opens the run sees them, and a cancelled run can be taken up again."""
    run = write_run(tmp_path, ["a"])
    run.cancel()
    assert Run.open(tmp_path, run.manifest.run).cancelled
    run.resume()
    run.mark_finished()

    assert (Run.open(tmp_path, run.manifest.run).cancelled, run.finished) == (False, True)


def test_a_batchs_id_reads_back_as_run_and_number() -> None:
    """The id on the queue is enough to find the batch again, even when its job's hash is lost."""
    batch = Batch("20260101-000000-abcdef", 12, 120, 10)

    assert parse_batch_id(batch.id) == ("20260101-000000-abcdef", 12)
    for stranger in ("", "no-number", "../etc_1", "a b_1", "a_-1"):
        with pytest.raises(UsageError, match="not the id of a batch"):
            parse_batch_id(stranger)
