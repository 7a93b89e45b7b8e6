"""The door to an index: who is inside, who stays, and what a stranger who does not come through it is kept from."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import FenceTimeout, IndexForeign
from sheaf.output.index import opener as opener_module
from sheaf.output.index.database import Index
from sheaf.output.index.door import Presence, no_other
from sheaf.output.index.opener import Opener
from tests.console import wait_until

INODE = 4711


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "pages.txt.intent"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Path]:
    """A database with a log, and with what SQLite shares between processes beside it."""
    path = tmp_path / "pages.txt.index"
    with_log = sqlite3.connect(path, isolation_level=None)
    with_log.execute("PRAGMA journal_mode = WAL")
    with_log.execute("CREATE TABLE rows (x)")
    shared = path.with_name(f"{path.name}-shm").read_bytes()
    with_log.close()
    path.with_name(f"{path.name}-shm").write_bytes(shared)
    yield path


def can_open(index: Path) -> bool:
    """Whether another process gets the lock that SQLite asks for first: it would try again for ten seconds."""
    code = (
        "import fcntl, sys\n"
        "try: fcntl.lockf(open(sys.argv[1] + '-shm', 'r+b'), fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 128)\n"
        "except BlockingIOError: sys.exit(3)"
    )
    status = subprocess.call([sys.executable, "-c", code, index])
    assert status in (0, 3)
    return status == 0


def test_one_at_a_time_is_in_the_door(note: Path) -> None:
    """Who stays with the index open, or leaves, makes room for the next; a wait that is too long is reported."""
    first, second = Presence(note, INODE), Presence(note, INODE)
    assert first.enter(time.monotonic())

    assert not second.enter(time.monotonic() + 0.05)
    first.stay()
    assert second.enter(time.monotonic())
    second.leave()

    third, fourth = Presence(note, INODE), Presence(note, INODE)
    assert third.enter(time.monotonic())
    leaving = threading.Timer(0.1, third.leave)
    leaving.start()
    assert fourth.enter(time.monotonic() + 60), "it was waited for"
    leaving.join()
    for presence in (first, fourth):
        presence.leave()


def test_who_stays_is_known_until_it_leaves_or_is_gone(note: Path) -> None:
    """By its word, by the loss of it, by the end of its holder: the next one is alone then."""
    staying, coming = Presence(note, INODE), Presence(note, INODE)
    assert staying.enter(time.monotonic()) and staying.alone()
    staying.stay()

    assert not coming.alone()
    staying.leave()
    assert coming.alone()
    coming.stay()

    last = Presence(note, INODE)
    assert not last.alone()
    del coming
    assert last.alone()
    last.leave()


def test_several_may_stay(note: Path) -> None:
    """Each counts by itself: no process is alone until the last of them is gone."""
    staying = [Presence(note, INODE) for _ in range(3)]
    for presence in staying:
        assert presence.enter(time.monotonic())
        assert presence.alone() == (presence is staying[0])
        presence.stay()

    last = Presence(note, INODE)
    for presence in staying:
        assert not last.alone()
        presence.leave()
    assert last.alone()
    last.leave()


def test_another_index_at_the_same_place_has_a_door_of_its_own(note: Path) -> None:
    """A process that has a deleted index open, or opens it, knows nothing of the log of the present one."""
    old, new = Presence(note, INODE), Presence(note, INODE + 1)
    assert old.enter(time.monotonic())

    assert new.enter(time.monotonic())
    old.stay()
    assert new.alone()
    for presence in (old, new):
        presence.leave()


def test_strangers_are_kept_out_for_a_while(index: Path) -> None:
    """An older Sheaf, or a person with a tool, who opens it just then would believe the log as it is."""
    with no_other(index) as alone:
        assert alone
        assert not can_open(index)
    assert can_open(index)


def test_a_stranger_who_is_there_is_noticed(index: Path) -> None:
    """Then the log is not the newcomer's to write anew."""
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]);"
        "connection.execute('SELECT * FROM rows').fetchall(); print(flush=True); sys.stdin.readline()"
    )
    stranger = subprocess.Popen(
        [sys.executable, "-c", code, index], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert stranger.stdout is not None
    stranger.stdout.readline()

    with no_other(index) as alone:
        assert not alone
    stranger.communicate("\n")
    with no_other(index) as alone:
        assert alone


def test_an_index_that_nobody_has_open_has_nobody_to_keep_out(tmp_path: Path) -> None:
    """What SQLite shares is there for as long as anybody has it open."""
    with no_other(tmp_path / "pages.txt.index") as alone:
        assert alone


def test_whoever_cannot_open_it_does_not_stand_in_the_door(tmp_path: Path) -> None:
    """Its error may be kept for long, and with it all that it had in hand."""
    opener = Opener(tmp_path / "pages.txt", 0.1, durable=True)
    opener.path.write_bytes(b"not a database, but long enough to be one")
    inode = opener.path.stat().st_ino

    with pytest.raises(IndexForeign) as kept:
        opener.open_checked(inode, suspect=False)

    other = Presence(opener.note.path, inode)
    assert other.enter(time.monotonic())
    assert kept.value.__traceback__ is not None
    other.leave()


def test_a_door_that_stays_occupied_opens_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in it may be about to write the log anew."""
    monkeypatch.setattr(opener_module, "_DOOR_S", 0.05)
    index = Index(tmp_path / "pages.txt", 0.0)
    index.create(b"")
    index.drop()
    inside = Presence(index.note.path, index.path.stat().st_ino)
    assert inside.enter(time.monotonic())

    with pytest.raises(FenceTimeout):
        index.connect()
    inside.leave()
    index.connect()
    index.drop()


def test_who_waits_at_the_door_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was stopped while it opened the index holds all others up: with or without a commit of its own."""
    monkeypatch.setattr(opener_module, "NOTICE_S", 0.0)
    index = Index(tmp_path / "pages.txt", 60.0)
    index.create(b"")
    index.drop()
    inside = Presence(index.note.path, index.path.stat().st_ino)
    assert inside.enter(time.monotonic())

    def leave_once_it_is_said() -> None:
        wait_until(lambda: caplog.records, 60, "it says that it waits")
        inside.leave()

    leaving = threading.Thread(target=leave_once_it_is_said)
    with caplog.at_level(logging.WARNING):
        leaving.start()
        index.connect()
    leaving.join()
    index.drop()

    first, *_, last = caplog.records
    assert first.getMessage() == "waiting for the output's fence"
    assert "stopped while opening the index" in vars(first)["blocked_by"]
    assert last.getMessage() == "got the output's fence after a long wait"
