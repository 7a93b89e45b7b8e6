"""What users' hands do to an output, and what the next commit answers."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.core.errors import (
    IndexForeign,
    IndexMissing,
    OutputMissing,
    OutputReplaced,
    OutputShortened,
)
from sheaf.output.index import database as index_module
from sheaf.output.output import Output
from sheaf.run.items import Done
from tests.outputs import assert_sound, commit, create_output
from tests.runs import RUN


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    with closing(create_output(tmp_path)) as output:
        yield output


def test_a_file_without_an_index_is_never_touched(tmp_path: Path) -> None:
    """It is a user's; not even an index is put beside it."""
    path = tmp_path / "theirs.txt"
    path.write_bytes(b"theirs")

    with pytest.raises(IndexMissing, match=r"its index theirs\.txt\.index does not"):
        Output.create(path)

    assert [entry.name for entry in tmp_path.iterdir()] == ["theirs.txt"]
    assert path.read_bytes() == b"theirs"


def test_an_index_that_was_deleted_in_mid_run_stops_the_run(output: Output) -> None:
    """The open connection would still write to the deleted file; that nothing of it is lost is noticed first."""
    output.path.with_name("pages.txt.index").unlink()

    with pytest.raises(IndexMissing, match="bring the index back"):
        commit(output, 1)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\n"


@pytest.mark.parametrize("left", [(), ("-wal", "-shm")], ids=["all", "side-files-left"])
def test_an_output_that_was_removed_and_made_anew_is_followed(output: Output, left: tuple[str, ...]) -> None:
    """A worker that had the old one open goes on with the new one, and does not harm it with what it knew."""
    assert output.path.with_name("pages.txt.index-wal").exists()
    for path in output.path.parent.iterdir():
        if not path.name.endswith(left or "\0"):
            path.unlink()
    anew = Output.create(output.path)
    anew.register_run(RUN, items=100, batch_size=10)
    commit(anew, 3)

    commit(output, 4)
    commit(anew, 5)

    assert output.path.read_bytes() == b"record 3\nrecord 4\nrecord 5\n"
    anew.close()
    assert_sound(output, 3)


def test_a_new_index_inherits_nothing_from_a_deleted_one(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would take side files that another process still has open for the new index's own, and write its log
    behind the old one's end, where it would not be found after a crash."""
    found: list[str] = []
    real = index_module.Index._fill

    def look(self: index_module.Index, header: bytes) -> None:
        found.extend(path.name for path in output.path.parent.iterdir())
        real(self, header)

    monkeypatch.setattr(index_module.Index, "_fill", look)
    output.path.unlink()
    output.path.with_name("pages.txt.index").unlink()
    assert output.path.with_name("pages.txt.index-shm").exists()

    Output.create(output.path).close()

    assert sorted(found) == ["pages.txt.index", "pages.txt.intent"]


def test_a_file_that_is_gone_or_shorter_is_refused(output: Output) -> None:
    """Committed bytes are missing: nothing is written until they are back."""
    whole = output.path.read_bytes()
    output.path.write_bytes(whole[:-3])
    with pytest.raises(OutputShortened, match="3 bytes are gone"):
        commit(output, 1)

    output.path.unlink()
    with pytest.raises(OutputMissing, match="bring the file back"):
        commit(output, 1)
    with pytest.raises(OutputMissing):
        output.records.one(RUN, 0)

    output.path.write_bytes(whole)
    commit(output, 1)
    assert_sound(output, 2)


def test_another_file_at_its_place_is_refused_whatever_its_inode(output: Output) -> None:
    """Same length, other bytes: written over in place, or put there as a new file."""
    other = b"x" * output.path.stat().st_size
    output.path.write_bytes(other)
    with pytest.raises(OutputReplaced, match="differ from what was written"):
        commit(output, 1)

    replacement = output.path.with_name("new")
    replacement.write_bytes(other)
    replacement.rename(output.path)
    with pytest.raises(OutputReplaced):
        commit(output, 1)

    assert output.path.read_bytes() == other


def test_a_file_of_which_only_the_beginning_differs_is_refused_if_it_is_a_new_one(output: Output) -> None:
    """The tail alone does not prove that a file which was put there is ours."""
    output.commit({RUN: [Done(1, b"y" * 9000)]}, worker="w", token=1)
    copy = output.path.with_name("copy")
    copy.write_bytes(b"OTHER!" + output.path.read_bytes()[6:])
    copy.rename(output.path)

    with pytest.raises(OutputReplaced):
        commit(output, 2)


def test_a_copy_that_was_brought_back_is_accepted(output: Output) -> None:
    """A restored or moved volume has other inodes; the bytes prove that it is the same file."""
    output.commit({RUN: [Done(1, b"y" * 9000)]}, worker="w", token=1)
    shutil.copyfile(output.path, output.path.with_name("copy"))
    output.path.with_name("copy").rename(output.path)

    commit(output, 2)

    assert_sound(output, 3)


def test_a_strangers_file_at_an_output_that_is_still_empty_is_not_touched(tmp_path: Path) -> None:
    """Nothing was committed, so there is nothing to recognise it by."""
    output = Output.create(tmp_path / "x.txt")
    output.register_run(RUN, 1, 1)
    (tmp_path / "other").write_bytes(b"theirs")
    (tmp_path / "other").rename(output.path)

    with pytest.raises(OutputReplaced, match="another program wrote it"):
        commit(output, 0)

    assert output.path.read_bytes() == b"theirs"
    output.path.unlink()
    commit(output, 0)
    assert_sound(output, 1)
    output.close()


def test_an_index_of_another_output_is_refused(output: Output) -> None:
    """Copied beside another file, it would claim bytes that are not there."""
    folder = output.path.parent
    output.close()
    shutil.copy(folder / "pages.txt.index", folder / "other.txt.index")
    shutil.copy(output.path, folder / "other.txt")
    other = Output(folder / "other.txt")

    with pytest.raises(IndexForeign, match=r"is the index of pages\.txt"):
        commit(other, 1)
    with pytest.raises(IndexForeign):
        Output.create(other.path)
    other.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one", None], ids=["text", "database"])
def test_something_else_at_the_indexs_place_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Neither a text nor a user's own database is taken for an index, or written to."""
    path = tmp_path / "x.txt.index"
    if content is None:
        with sqlite3.connect(path) as theirs:
            theirs.execute("CREATE TABLE mine (x)")
        theirs.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()

    with pytest.raises(IndexForeign):
        Output.create(tmp_path / "x.txt")

    assert path.read_bytes() == before
    assert not (tmp_path / "x.txt").exists()


def test_an_index_of_a_newer_version_is_refused(output: Output) -> None:
    """Half understood is not understood."""
    output.close()
    with sqlite3.connect(output.path.with_name("pages.txt.index")) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(IndexForeign, match="newer Sheaf"):
        commit(output, 1)


@pytest.mark.parametrize("moment", ["look", "plan", "note"])
def test_what_is_appended_in_the_middle_of_a_commit_is_kept_aside(tmp_path: Path, moment: str) -> None:
    """Between our look at the file and our writing: the commit begins anew, and overwrites nothing."""
    strays: list[bytes] = []

    def append(step: str) -> None:
        if step == moment and strays:
            with open(tmp_path / "pages.txt", "ab") as stranger:
                stranger.write(strays.pop())

    output = Output.create(tmp_path / "pages.txt", header=b"", steps=append)
    output.register_run(RUN, items=100, batch_size=10)
    strays.append(b"<stray>")
    commit(output, 0)
    commit(output, 1)

    assert not strays
    assert (tmp_path / "pages.txt").read_bytes() == b"record 0\nrecord 1\n"
    assert (tmp_path / "pages.txt.stray-1").read_bytes() == b"<stray>"
    assert_sound(output, 2)
    output.close()
