"""Bytes of other programs, disks that say no, and writers that keep the fence: what a commit does about them."""

import errno
import os
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf import disk_errors
from sheaf import index as index_module
from sheaf.batch import Done, Failed
from sheaf.errors import (
    FenceTimeout,
    IndexForeign,
    OutputError,
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


def test_what_another_program_appends_is_moved_aside_and_kept(output: Output) -> None:
    """Twice: both times the bytes are kept, in order, and the output goes on without them."""
    for index, text in ((1, b"first stray\n"), (2, b"second stray\n")):
        with open(output.path, "ab") as stranger:
            stranger.write(text)
        commit(output, index)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\nrecord 1\nrecord 2\n"
    assert output.path.with_name("pages.txt.stray-1").read_bytes() == b"first stray\nsecond stray\n"


def test_a_cut_is_on_the_disk_before_anything_else_is(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could bring the torn bytes back behind a run that is finished, where nobody would cut them."""
    with open(output.path, "ab") as stranger:
        stranger.write(b"beyond L")
    calls: list[str] = []
    real_cut, real_sync = os.ftruncate, os.fdatasync
    monkeypatch.setattr(os, "ftruncate", lambda *given: (calls.append("cut"), real_cut(*given))[1])
    monkeypatch.setattr(os, "fdatasync", lambda *given: (calls.append("sync"), real_sync(*given))[1])

    output.clear_tail()

    assert output.path.read_bytes() == b"HEADER\nrecord 0\n"
    assert calls[calls.index("cut") + 1] == "sync"


def test_a_commit_of_failures_only_syncs_the_file_too(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the run's last one: what it calls finished must have nothing unsynced behind it."""
    synced: list[int] = []
    real_sync = os.fdatasync
    monkeypatch.setattr(
        os, "fdatasync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), real_sync(descriptor))[1]
    )

    output.commit({RUN: [Failed(1, "Dns", "no such host", 1)]}, worker="w", token=1)

    assert output.path.stat().st_ino in synced


def test_a_strangers_bytes_that_look_like_the_last_append_are_kept_too(output: Output) -> None:
    """The note tells where the append was to be, not only how it begins."""
    with open(output.path, "ab") as stranger:
        stranger.write(output.path.read_bytes())

    commit(output, 1)

    assert output.path.with_name("pages.txt.stray-1").read_bytes() == b"HEADER\nrecord 0\n"


def test_what_a_stranger_writes_behind_a_failed_append_is_kept(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed append is not cut then: it goes aside with the stranger's bytes."""
    real = os.pwritev

    def refuse(descriptor: int, buffers: list[bytes], offset: int) -> int:
        real(descriptor, buffers, offset)
        with open(output.path, "ab") as stranger:
            stranger.write(b"stray")
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "pwritev", refuse)
    with pytest.raises(OutputUnwritable):
        commit(output, 1)
    monkeypatch.setattr(os, "pwritev", real)
    commit(output, 2)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\nrecord 2\n"
    assert output.path.with_name("pages.txt.stray-1").read_bytes() == b"record 1\nstray"


def test_who_comes_new_syncs_file_and_log_before_trusting_them(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed writer's last words may be in the page cache only; a power cut would take them back."""
    synced: list[str] = []
    real = os.fdatasync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    newcomer = Output(output.path)
    monkeypatch.setattr(os, "fdatasync", note)
    newcomer.commit({RUN: [Done(0, b"known already")]}, worker="w", token=1)
    assert synced == ["pages.txt.index-wal", "pages.txt"]

    commit(newcomer, 1)
    assert synced[2:] == ["pages.txt"]
    newcomer.close()


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
    assert output.commit(many, worker="w", token=1).committed[RUN] == [(1, 100)]
    assert_sound(output, 100)


def test_a_write_error_under_the_index_commits_nothing(output: Output) -> None:
    """The kernel refuses SQLite's write to its log (EFBIG here; SQLite says "disk I/O error" to that as to EIO): no
    item is settled; when the disk is well the same commit succeeds, and what the first try appended is cut."""
    log = output.path.with_name("pages.txt.index-wal")
    was, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert output.path.stat().st_size + 100 < log.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        with pytest.raises(OutputUnwritable, match=r"index cannot be written: disk I/O error"):
            commit(output, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (was, hard))
    assert output.progress(RUN).done == 1

    commit(output, 1)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\nrecord 1\n"
    assert_sound(output, 2)


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        *((code, OutputUnwritable) for code in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE)),
        *((code, OutputUnwritable) for code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)),
        *((code, FenceTimeout) for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_LOCKED)),
        *((code, IndexForeign) for code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT)),
    ],
)
def test_what_sqlite_says_is_said_as_our_error(code: int, ours: type[OutputError]) -> None:
    """A disk that fails is tried again, a fence that is held is waited for, an index that is damaged is refused."""
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code

    translated = disk_errors.translate(error, Path("pages.txt.index"), "busy")

    assert type(translated) is ours
    assert str(translated) == "busy" or "what SQLite says" in str(translated)


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

    assert "worker-that-stops (pid" in errors[0]
    assert "0.3 s" in errors[0]
    commit(waiting, 2)
    assert_sound(output, 3)
    for each in (waiting, holding):
        each.close()
