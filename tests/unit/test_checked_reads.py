"""What is read out of an output is what was committed, or it is not handed out."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign, OutputDamaged, OutputShortened
from sheaf.export import Export, export
from sheaf.output.output import Output
from sheaf.run.items import Done
from sheaf.run.run import Run, sync_folder
from tests.patches import noting
from tests.runs import RUN, a_manifest, numbered, write_run

ITEMS = 40


def line(index: int) -> bytes:
    return b'{"index":%d,"item":"item %d","value":%d}\n' % (index, index, index * index)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Commits 1 and 2: items 0 to 19, and 20 to 39."""
    write_run(tmp_path, numbered(ITEMS), output="values.jsonl")
    output = Output.create(tmp_path / "values.jsonl")
    output.register_run(RUN, ITEMS, 7)
    for half in (range(20), range(20, 40)):
        output.commit({RUN: [Done(index, line(index)) for index in half]}, worker="w", token=1)
    output.close()
    return tmp_path / "values.jsonl"


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def readers(path: Path) -> Iterator[Callable[[], object]]:
    """All ways to bytes of the second commit."""
    output = Output(path)
    yield lambda: output.records.one(RUN, 25)
    yield lambda: list(output.records.all(RUN))
    yield lambda: [output.records.read_slice(piece) for piece in output.records.slices(RUN)]
    for ordered in (False, True):
        for suffix in (".jsonl", ".csv", ".txt"):
            yield partial(export, Export(path, RUN, path.with_name(f"copy{suffix}"), ordered))
    output.close()


def test_a_changed_byte_is_not_handed_out(path: Path) -> None:
    """In the same commit, if not in the same record: that one says where and what to do, and no file is made."""
    flip(path, path.read_bytes().index(b'"value":676'))

    for read in readers(path):
        with pytest.raises(OutputDamaged, match=r"commit 2 of .*values\.jsonl .*sheaf repair values\.jsonl"):
            read()
    assert list(path.parent.glob("*copy*")) == []
    output = Output(path)
    assert output.records.one(RUN, 3) == line(3)
    output.close()


def test_bytes_that_are_gone_are_not_handed_out(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)

    for read in readers(path):
        with pytest.raises(OutputShortened):
            read()
    assert list(path.parent.glob("*copy*")) == []


def test_get_says_which_commit_is_damaged(path: Path) -> None:
    flip(path, path.read_bytes().index(b'"value":676'))

    got = subprocess.run(
        [sys.executable, "-c", "from sheaf.cli.main import main; main()", "get", "values.jsonl", "30"],
        env={**os.environ, "SHEAF_DATA_DIR": str(path.parent)},
        capture_output=True,
    )

    assert (got.returncode, got.stdout) == (1, b"")
    assert b"commit 2" in got.stderr
    assert b"sheaf repair values.jsonl" in got.stderr
    assert b"Traceback" not in got.stderr


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE commits SET lengths = CAST(x'41' || substr(lengths, 2) AS BLOB) WHERE id = 2",
        "UPDATE commits SET ranges = x'011314' WHERE id = 2",
        "UPDATE commits SET ranges = x'011413' WHERE id = 2",
        "UPDATE commits SET ranges = 7 WHERE id = 2",
        "UPDATE commits SET lengths = 'text' WHERE id = 2",
        "UPDATE batches SET commits = x'0109' WHERE number = 3",
        "UPDATE batches SET commits = 'text' WHERE number = 3",
    ],
)
def test_a_damaged_row_ends_in_one_clear_error(path: Path, change: str) -> None:
    """A list that does not unpack, one that names other items, a value of another type: never another's record."""
    with sqlite3.connect(path.with_name("values.jsonl.index"), isolation_level=None) as connection:
        connection.execute(change)
    connection.close()
    output = Output(path)
    with pytest.raises(IndexForeign, match=r"sheaf repair values\.jsonl"):
        output.records.one(RUN, 25)
    output.close()


def test_a_mark_is_durable_when_it_is_set_and_when_it_is_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a mark that comes back would hide reopened items, and one that is gone costs a look."""
    run = Run.open(path.parent, RUN)
    synced: list[str] = []
    watched = noting(sync_folder, lambda folder: synced.append(folder.name))
    monkeypatch.setattr("sheaf.run.run.sync_folder", watched)

    for act in (run.mark_finished, run.reopen, run.cancel, run.resume):
        synced.clear()
        act()
        assert synced == [RUN]

    segment = Run(run.folder, a_manifest("session-1-1", session="session-1", durable=False))
    synced.clear()
    segment.mark_finished()
    assert synced == []


def test_new_folders_are_durable_with_what_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run makes `runs/`, a person the output's folder: an acknowledged record is lost with either."""
    synced: set[Path] = set()
    watched = noting(sync_folder, lambda folder: synced.add(folder.resolve()))
    monkeypatch.setattr("sheaf.run.run.sync_folder", watched)
    data_dir = (tmp_path / "data").resolve()
    (data_dir / "deep" / "down").mkdir(parents=True)

    write_run(data_dir, ["item"], output="deep/down/o.txt")
    assert {data_dir / "runs", data_dir} <= synced

    synced.clear()
    Output.create(data_dir / "deep" / "down" / "o.txt").close()
    assert {data_dir / "deep" / "down", data_dir / "deep", data_dir} <= synced
