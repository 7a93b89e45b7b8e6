"""Bytes of other programs, disks that say no, and writers that keep the fence: what a commit does about them."""

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.errors import (
    FenceTimeout,
    IndexForeign,
    IndexSpoilt,
    OutputError,
    OutputUnwritable,
)
from sheaf.output.index import database as index_module
from sheaf.output.index import errors as disk_errors
from sheaf.output.index import wal
from sheaf.output.index.door import Presence
from sheaf.output.index.opener import Opener
from sheaf.output.output import Output
from sheaf.run.items import Done, Failed
from tests.outputs import assert_sound, commit, create_output
from tests.patches import noting, raising
from tests.runs import RUN


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    with closing(create_output(tmp_path)) as output:
        yield output


def read_only(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have SQLite open this many connections as it does when it is refused the file for writing."""
    left, connect = times, sqlite3.connect

    def instead(address: str, **options: Any) -> sqlite3.Connection:
        nonlocal left
        left -= 1
        made: sqlite3.Connection = connect(address.replace("mode=rw", "mode=ro") if left >= 0 else address, **options)
        return made

    monkeypatch.setattr(sqlite3, "connect", instead)


def test_a_connection_that_can_only_read_is_opened_anew(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refused the file for a moment, and SQLite made do with less: the next try has one that can write."""
    output.close()
    read_only(monkeypatch, 1)

    with pytest.raises(OutputUnwritable, match="attempt to write a readonly database"):
        commit(output, 1)
    commit(output, 1)

    assert output.reader.run(RUN).done == 2


def test_a_process_that_can_only_read_is_no_disk_that_says_no(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its connections share is spoilt for all of them: it says so, and does not try for ever."""
    output.close()
    read_only(monkeypatch, 99)

    for _ in range(2):
        with pytest.raises(OutputUnwritable):
            commit(output, 1)
    with pytest.raises(IndexSpoilt, match="cannot be written by this process, though it has the right"):
        commit(output, 1)


def test_a_disk_that_cannot_be_written_to_is_waited_for(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried: it is mounted read-only, say, and a person will mount it again."""
    output.close()
    read_only(monkeypatch, 99)
    monkeypatch.setattr(os, "access", lambda *_given, **_named: False)

    for _ in range(5):
        with pytest.raises(OutputUnwritable):
            commit(output, 1)


def killed_after_commit(output: Output, index: int) -> None:
    """A process commits and is killed; no other process has the index open, so that its log is all there is of it."""
    output.close()
    child = os.fork()
    if child == 0:
        commit(Output(output.path), index)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_what_another_program_appends_is_moved_aside_and_kept(output: Output) -> None:
    """Twice: both times the bytes are kept, in order, and the output goes on without them."""
    for index, text in ((1, b"first stray\n"), (2, b"second stray\n")):
        with open(output.path, "ab") as stranger:
            stranger.write(text)
        commit(output, index)

    assert output.path.read_bytes() == b"HEADER\nrecord 0\nrecord 1\nrecord 2\n"
    assert output.path.with_name("pages.txt.stray-1").read_bytes() == b"first stray\nsecond stray\n"


def test_a_cut_is_on_the_disk_before_anything_else_is(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could bring the torn bytes back behind a run that is finished, where they would not be cut."""
    with open(output.path, "ab") as stranger:
        stranger.write(b"beyond L")
    calls: list[str] = []
    monkeypatch.setattr(os, "ftruncate", noting(os.ftruncate, lambda *_: calls.append("cut")))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync, lambda *_: calls.append("sync")))

    output.remove_excess()

    assert output.path.read_bytes() == b"HEADER\nrecord 0\n"
    assert calls[calls.index("cut") + 1] == "sync"


def test_a_commit_of_failures_only_syncs_the_file_too(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the run's last one: what it calls finished must have nothing unsynced behind it."""
    synced: list[int] = []
    watched = noting(os.fdatasync, lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(os, "fdatasync", watched)

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


@pytest.mark.unmeasured
def test_who_comes_new_syncs_file_and_log_before_trusting_them(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed writer's last words may be in the page cache only; a power cut would take them back."""
    synced: list[str] = []
    real = os.fdatasync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    killed_after_commit(output, 1)
    newcomer = Output(output.path)
    monkeypatch.setattr(os, "fdatasync", note)
    newcomer.commit({RUN: [Done(0, b"known already")]}, worker="w", token=1)
    assert synced == ["pages.txt.index-wal-anew", "pages.txt"]

    commit(newcomer, 2)
    assert synced[2:] == ["pages.txt"]
    newcomer.close()


@pytest.mark.unmeasured
def test_who_comes_new_writes_the_whole_log_anew_before_it_is_read(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed one's sync may have failed: the kernel takes the pages for written, and only new writes are tried."""
    killed_after_commit(output, 1)
    log = output.path.with_name("pages.txt.index-wal")
    before = log.read_bytes()
    written: list[tuple[str, int, bytes]] = []
    steps: list[str] = []

    def write(descriptor: int, data: bytes, offset: int) -> None:
        written.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, offset, bytes(data)))
        steps.append("write")

    monkeypatch.setattr(os, "pwrite", noting(os.pwrite, write))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync, lambda _: steps.append("sync")))
    monkeypatch.setattr(sqlite3, "connect", noting(sqlite3.connect, lambda *_a, **_k: steps.append("open")))

    assert output.reader.run(RUN).done == 2
    assert steps[-2:] == ["sync", "open"]
    assert {name for name, _, _ in written} == {f"{log.name}-anew"}
    assert b"".join(data for _, _, data in sorted(written, key=lambda each: each[1])) == before
    assert len(before) > 0


def test_who_comes_while_others_are_there_neither_writes_nor_waits(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know what is in the log; one that keeps the fence must not keep readers out."""
    output.reader.run(RUN)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)

    def look(step: str) -> None:
        if step == "note":
            synced.clear()
            newcomer = Output(output.path, fence_wait_s=0.0)
            assert newcomer.reader.run(RUN).done == 1
            newcomer.close()
            assert synced == []

    holding = Output(output.path, steps=look)
    holding.reader.state()
    holding.commit({RUN: [Done(1, b"record 1\n")]}, worker="w", token=1)
    holding.close()


@pytest.mark.unmeasured
def test_whoever_had_the_index_open_dies_while_another_opens_it(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was known to be open, but no longer when SQLite had read the log: then that was a newcomer's own reading."""
    killed_after_commit(output, 1)
    neighbour = Output(output.path)
    neighbour.reader.run(RUN)
    newcomer = Output(output.path)
    real = Opener._open_ours
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fdatasync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
    )

    def meanwhile(self: Opener) -> sqlite3.Connection:
        connection = real(self)
        # Its word is gone; that its connection is not, as a killed process's would be, is the same to the newcomer.
        assert neighbour._index._presence is not None
        neighbour._index._presence.leave()
        return connection

    monkeypatch.setattr(Opener, "_open_ours", meanwhile)
    assert newcomer.reader.run(RUN).done == 2
    assert synced == ["pages.txt.index-wal"]
    newcomer.close()
    neighbour.close()


def test_a_forked_child_does_not_keep_its_parents_word(output: Output) -> None:
    """It lives on when the parent is killed, and must not pass for a process that has the index open."""
    output.reader.run(RUN)
    note, inode = output.path.with_name("pages.txt.intent"), output.path.with_name("pages.txt.index").stat().st_ino
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b".")
        os.read(go[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        other = Presence(note, inode)
        assert not other.alone()
        output.close()
        assert other.alone()
        other.leave()
    finally:
        os.write(go[1], b".")
        os.waitpid(child, 0)
        for descriptor in (*ready, *go):
            os.close(descriptor)


@pytest.mark.unmeasured
def test_a_stranger_that_has_the_index_open_keeps_its_log(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older Sheaf may be writing: the log is written anew under the fence then, not beside it."""
    killed_after_commit(output, 1)
    index = output.path.with_name("pages.txt.index")
    holder = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "connection.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.readline();"
        "connection.execute('ROLLBACK'); print(flush=True); sys.stdin.readline()"
    )
    stranger = subprocess.Popen(
        [sys.executable, "-c", holder, index], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert stranger.stdin is not None and stranger.stdout is not None
    stranger.stdout.readline()
    written: list[str] = []
    real = os.pwrite

    def write(descriptor: int, data: bytes, offset: int) -> int:
        written.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
    newcomer = Output(output.path, fence_wait_s=0.1)
    with pytest.raises(FenceTimeout):
        newcomer.reader.run(RUN)
    assert written == []
    stranger.stdin.write("\n")
    stranger.stdin.flush()
    stranger.stdout.readline()
    assert newcomer.reader.run(RUN).done == 2
    assert written == ["pages.txt.index-wal"]
    newcomer.close()
    stranger.communicate("\n")


def test_no_connection_moves_the_log_by_itself_and_it_stays_short(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's WAL-reset bug needs one that moves the log while another writes: its mover has the fence."""
    moves: list[bool] = []
    longest = 0
    real = wal.move

    def move(connection: sqlite3.Connection, fence: sqlite3.Connection) -> None:
        def look(statement: str) -> None:
            if "checkpoint" in statement:
                moves.append(fence.in_transaction)
                with closing(sqlite3.connect(index.path, timeout=0)) as third, pytest.raises(sqlite3.OperationalError):
                    third.execute("BEGIN IMMEDIATE")

        connection.set_trace_callback(look)
        real(connection, fence)
        connection.set_trace_callback(None)

    index = output._index
    monkeypatch.setattr(wal, "move", move)
    monkeypatch.setattr(wal, "LONG", 1 << 18)
    other = Output(output.path)
    for number in range(1, 100):
        failed = [Failed(number, "Dns", "x" * 9000, 1)]
        (output if number % 2 else other).commit({RUN: failed}, worker="w", token=1)
        for each in (output, other):
            assert each._index.connect().execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        longest = max(longest, wal.size(index.path))

    assert len(moves) >= 5
    assert all(moves)
    assert longest < 3 << 17
    other.close()
    assert_sound(output, 1)


def test_a_log_that_cannot_be_moved_fails_no_commit(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is made already; its worker would do its items again."""
    monkeypatch.setattr(wal, "LONG", 1)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    monkeypatch.setattr(wal, "move", raising(error))

    commit(output, 1)
    commit(output, 2)

    assert_sound(output, 3)


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
    many: dict[str, list[Done | Failed]] = {
        RUN: [Done(index, b"record") for index in range(1, 100)],
        "failing": [Failed(index, "E", "m" * 500, 1) for index in range(1000)],
    }

    with pytest.raises(OutputUnwritable, match="full"):
        output.commit(many, worker="w", token=1)
    assert output.reader.run(RUN).done == 1

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
    assert output.reader.run(RUN).done == 1

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


@pytest.mark.unmeasured
def test_a_log_whose_sync_failed_is_written_anew_before_it_is_trusted(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed sync is not repaired by a sync that succeeds: the kernel has forgotten the pages by then."""
    killed_after_commit(output, 1)
    opened = Output(output.path)
    real_sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", raising(OSError(errno.EIO, "I/O error")))
    with pytest.raises(OutputUnwritable, match="I/O error"):
        opened.reader.state()
    monkeypatch.setattr(os, "fdatasync", real_sync)
    log = output.path.with_name("pages.txt.index-wal")
    written: list[bytes] = []
    monkeypatch.setattr(os, "pwrite", noting(os.pwrite, lambda _file, data, _at: written.append(data)))

    opened.reader.state()

    assert b"".join(written) == log.read_bytes()
    opened.close()


def test_a_commit_whose_sync_failed_has_the_log_written_anew(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside others too: the disk may not have the page that the last whole transaction shares with the failed one."""
    neighbour = Output(output.path)
    neighbour.reader.run(RUN)
    commit(output, 1)
    rewritten: list[Path] = []
    watched = noting(wal.write_anew, rewritten.append)
    monkeypatch.setattr(wal, "write_anew", watched)
    failing = Output(output.path)
    failing.reader.run(RUN)
    monkeypatch.setattr(failing._index, "translated", raising(OutputUnwritable("I/O error")))
    with pytest.raises(OutputUnwritable), suppress(sqlite3.Error):
        failing._index.connect().execute("BEGIN IMMEDIATE")
        failing._index.commit()
    monkeypatch.undo()
    monkeypatch.setattr(wal, "write_anew", watched)

    commit(failing, 2)

    assert rewritten == [output.path.with_name("pages.txt.index")]
    assert_sound(output, 3)
    for each in (failing, neighbour):
        each.close()


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
