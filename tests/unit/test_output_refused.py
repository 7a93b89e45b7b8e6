"""What users' hands, other programs and the disk do to an output, and what the next commit answers."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf import index as index_module
from sheaf.batch import Done, Failed
from sheaf.errors import (
    FenceTimeout,
    IndexForeign,
    IndexMissing,
    OutputMissing,
    OutputReplaced,
    OutputShortened,
    OutputUnwritable,
)
from sheaf.output import Output
from sheaf.verify import verify

RUN = "20260101-000000-abcdef"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    output = Output.create(tmp_path / "pages.txt", header=b"HEADER\n")
    output.register_run(RUN, items=100, batch_size=10)
    commit(output, 0)
    yield output
    output.close()


def commit(output: Output, index: int) -> None:
    output.commit({RUN: [Done(index, b"record %d\n" % index)]}, worker="w", token=1)


def assert_sound(output: Output, items: int) -> None:
    report = verify(output.path.parent, output.path)
    assert report.problems == []
    assert report.done == items


def test_a_file_without_an_index_is_never_touched(tmp_path: Path) -> None:
    """It is somebody's; not even an index is put beside it."""
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
        output.record(RUN, 0)

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
    """Neither a text nor somebody's own database is taken for an index, or written to."""
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


def test_what_another_program_appends_is_moved_aside_and_kept(output: Output) -> None:
    """Twice: both times the bytes are kept, in order, and the output goes on without them."""
    for index, text in ((1, b"first stray\n"), (2, b"second stray\n")):
        with open(output.path, "ab") as stranger:
            stranger.write(text)
        commit(output, index)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\nrecord 1\nrecord 2\n"
    assert output.path.with_name("pages.txt.stray-1").read_bytes() == b"first stray\nsecond stray\n"


def test_stray_bytes_follow_no_link_that_lies_in_their_way(output: Output, tmp_path: Path) -> None:
    """What happens to have the stray file's name is not written to unless it is a file."""
    (tmp_path / "precious").write_bytes(b"precious")
    output.path.with_name("pages.txt.stray-1").symlink_to(tmp_path / "precious")
    output.path.with_name("pages.txt.stray-2").mkdir()
    with open(output.path, "ab") as stranger:
        stranger.write(b"stray")

    commit(output, 1)

    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert output.path.with_name("pages.txt.stray-3").read_bytes() == b"stray"


@pytest.mark.parametrize("call", ["pwritev", "fdatasync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_says_no_leaves_the_output_as_it_was(
    output: Output, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """The bytes that were written are cut again; the same commit succeeds once the disk has room."""
    before = output.path.read_bytes()
    real = getattr(os, call)

    def refuse(descriptor: int, *arguments: object) -> int:
        if call == "pwritev":
            os.pwrite(descriptor, b"rec", len(before))
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OutputUnwritable, match=os.strerror(code)):
        commit(output, 1)
    assert output.path.read_bytes() == before

    monkeypatch.setattr(os, call, real)
    commit(output, 1)
    assert_sound(output, 2)


def test_a_full_disk_under_the_index_commits_nothing(output: Output) -> None:
    """SQLite's own write fails within the commit: no item is settled, and the next try settles it."""
    connection = output._index.connect()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    output.register_run("failing", items=1000, batch_size=10)
    many = {
        RUN: [Done(index, b"record") for index in range(1, 100)],
        "failing": [Failed(index, "E", "m" * 500, 1) for index in range(1000)],
    }

    with pytest.raises(OutputUnwritable, match="full"):
        output.commit(many, worker="w", token=1)
    assert output.progress(RUN).done == 1

    output.close()
    assert len(output.commit(many, worker="w", token=1).committed[RUN]) == 99
    assert_sound(output, 100)


def test_after_a_commit_whose_fate_is_unknown_the_next_one_finds_out(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COMMIT reports an error: once it did not happen, once it did. Either way each item ends up there once."""
    real = index_module.Index.commit

    def fail_before(self: index_module.Index) -> None:
        self.drop()
        raise OutputUnwritable("COMMIT failed")

    def fail_after(self: index_module.Index) -> None:
        real(self)
        raise OutputUnwritable("COMMIT failed")

    for index, failing in ((1, fail_before), (2, fail_after)):
        monkeypatch.setattr(index_module.Index, "commit", failing)
        with pytest.raises(OutputUnwritable):
            commit(output, index)
        monkeypatch.setattr(index_module.Index, "commit", real)
        commit(output, index)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\nrecord 1\nrecord 2\n"
    assert not output.path.with_name("pages.txt.stray-1").exists()
    assert_sound(output, 3)


def test_a_log_whose_sync_failed_is_written_anew_before_it_is_trusted(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed sync is not repaired by a sync that succeeds: the kernel has forgotten the pages by then."""
    opened = Output(output.path)
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(OutputUnwritable, match="I/O error"):
        opened.highest_token()
    monkeypatch.setattr(os, "fdatasync", real)
    log = output.path.with_name("pages.txt.index-wal")
    assert log.stat().st_size > 0

    opened.highest_token()

    assert log.stat().st_size == 0
    opened.close()


def test_a_writer_that_keeps_the_fence_is_named_to_those_who_wait(output: Output) -> None:
    """A stopped process may hold the fence for ever; the error says who and what to do, and nothing is written."""
    waiting = Output(output.path, fence_wait_s=0.3)
    errors: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "note":
            with pytest.raises(FenceTimeout) as caught:
                waiting.commit({RUN: [Done(2, b"record 2\n")]}, worker="late", token=2)
            errors.append(str(caught.value))

    holding = Output(output.path, steps=meanwhile)
    holding.commit({RUN: [Done(1, b"record 1\n")]}, worker="worker-that-stops", token=1)

    assert "worker-that-stops (since" in errors[0]
    assert "0.3 s" in errors[0]
    commit(waiting, 2)
    assert_sound(output, 3)
    for each in (waiting, holding):
        each.close()
