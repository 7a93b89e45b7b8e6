"""The index's connection by itself: who creates, who waits and what is said of it, what is seen, what is refused."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.errors import FenceTimeout, IndexForeign, IndexMissing, OutputUnwritable
from sheaf.output.index import opener, schema
from sheaf.output.index.database import Index
from sheaf.output.index.reader import IndexReader
from tests.console import wait_until


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "pages.txt", wait_s=60.0)
    made.create(b"HEADER\n")
    yield made
    made.drop()


def set_length(index: Index, value: int) -> None:
    index.begin().set_file(value, "", (0, 0))
    index.commit()


def test_one_process_at_a_time_creates(tmp_path: Path) -> None:
    """Another one that is at it is waited for, for as long as for the fence."""
    index = Index(tmp_path / "pages.txt", wait_s=0.1)
    with open(index.note.path, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FenceTimeout, match=r"than the 0\.1 s"):
            index.create(b"")
        assert not index.path.exists()

    index.create(b"")
    assert IndexReader(index.connect()).state().length == 0
    index.drop()


def test_a_file_that_comes_while_its_index_is_created_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would be known of what is in it."""
    index = Index(tmp_path / "pages.txt", wait_s=60.0)
    real = schema.has_tables

    def meanwhile(connection: sqlite3.Connection) -> bool:
        index.output.write_bytes(b"theirs")
        return real(connection)

    monkeypatch.setattr(schema, "has_tables", meanwhile)
    with pytest.raises(IndexMissing, match="is not touched"):
        index.create(b"HEADER\n")
    monkeypatch.undo()

    with closing(sqlite3.connect(index.path)) as connection:
        assert not schema.has_tables(connection)


def test_a_file_system_that_shares_no_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite makes do with another kind of log there, and readers would keep writers out."""
    index = Index(tmp_path / "pages.txt", wait_s=60.0)
    real = Index.wait_for

    def without(self: Index, connection: sqlite3.Connection, statement: str, *given: Any) -> Any:
        return "delete" if statement.startswith("PRAGMA journal_mode") else real(self, connection, statement, *given)

    monkeypatch.setattr(Index, "wait_for", without)
    with pytest.raises(OutputUnwritable, match="cannot share memory between processes"):
        index.create(b"")


def test_a_place_that_cannot_be_looked_at_is_no_missing_index(tmp_path: Path) -> None:
    """That may pass; a missing index stops the run."""
    (tmp_path / "folder").touch()

    with pytest.raises(OutputUnwritable, match="Not a directory"):
        Index(tmp_path / "folder" / "pages.txt", wait_s=60.0).connect()


def test_whoever_waits_for_the_fence_says_for_whom(
    index: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While it waits, and when it is over; a fence that is free is nothing to talk about."""
    monkeypatch.setattr(opener, "NOTICE_S", 0.0)
    waiting = Index(index.output, wait_s=60.0)

    def end_once_it_is_said() -> None:
        wait_until(lambda: caplog.records, 60, "it says that it waits")
        index.roll_back()

    with caplog.at_level(logging.WARNING):
        waiting.begin()
        waiting.roll_back()
        assert caplog.records == []
        before = waiting.waited_s

        index.begin()
        index.note.write_owner("worker-1")
        ending = threading.Thread(target=end_once_it_is_said)
        ending.start()
        waiting.begin()
        ending.join()

    assert waiting.begun
    assert waiting.waited_s > before
    first, *_, last = caplog.records
    assert first.getMessage() == "waiting for the output's fence"
    assert vars(first)["blocked_by"].startswith(f"worker-1 (pid {os.getpid()}")
    assert last.getMessage() == "got the output's fence after a long wait"
    waiting.drop()


def test_what_is_read_is_of_the_moment_at_which_reading_began(index: Index) -> None:
    """Whatever is committed meanwhile; afterwards it is seen."""
    other = Index(index.output, wait_s=60.0)
    with index.reading() as reader:
        set_length(other, 7)
        assert reader.state().length == 0
        set_length(other, 8)
        assert reader.state().length == 0

    with index.reading() as reader:
        assert reader.state().length == 8
    other.drop()


def test_what_makes_no_sense_of_what_was_read_is_a_damaged_index(index: Index) -> None:
    """Also text in the schema that is none, which SQLite quotes."""
    with pytest.raises(IndexForeign, match=r"ValueError: .*sheaf repair pages\.txt"), index.reading():
        int("no number")
    index.drop()

    with closing(sqlite3.connect(index.path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = CAST(sql || x'ff' AS TEXT) WHERE name = 'runs'")
    with pytest.raises(IndexForeign, match=r"cannot be read as an index \(a name in it is no text\)"):
        index.connect()


def test_what_cannot_be_read_as_an_index_is_not_kept_open(index: Index) -> None:
    """No connection to it is left, nor a descriptor, for as long as the error is referenced."""
    index.drop()
    index.path.write_bytes(b"not a database, but long enough to be one")
    with pytest.raises(IndexForeign) as caught:
        index.connect()
    opened = [entry.resolve() for entry in list(Path("/proc/self/fd").iterdir())]
    assert index.path.resolve() not in opened
    assert caught.value is not None


def test_a_database_of_another_program_is_refused(index: Index) -> None:
    """Also one that has tables of the same names."""
    index.drop()
    with closing(sqlite3.connect(index.path)) as connection, connection:
        connection.execute("PRAGMA application_id = 4711")

    with pytest.raises(IndexForeign, match="not an index of ours"):
        index.connect()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 0)])
def test_only_what_has_to_last_is_synced(tmp_path: Path, durable: bool, synchronous: int) -> None:
    """A program's results end with the program: whether the disk has them, or who has them open, does not matter."""
    index = Index(tmp_path / "pages.txt", wait_s=60.0, durable=durable)
    index.create(b"")

    assert index.connect().execute("PRAGMA synchronous").fetchone() == (synchronous,)
    assert (index._presence is not None) == durable
    index.drop()


@pytest.mark.parametrize("name", ["a?mode=memory", "50%25 off", "a#b", "two  blanks"])
def test_an_output_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Its index is beside it, under the same name; what the folder is called need be no UTF-8 either."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    index = Index(folder / name, wait_s=60.0)
    index.create(b"")
    index.drop()

    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.index", f"{name}.intent"]


def test_others_notice_a_new_connection(index: Index) -> None:
    """What they know of the old one's file has to be looked at again."""
    index.connect()
    before = index.generation
    index.connect()
    assert index.generation == before

    index.drop()
    index.connect()
    assert index.generation == before + 1


def test_a_transaction_that_could_not_be_rolled_back_is_in_nobodys_way(index: Index) -> None:
    """Its connection is given up, with what was not committed."""
    index.begin().set_file(7, "", (0, 0))
    # Whatever kept the roll back from being made.
    with index.reading() as reader:
        assert reader.state().length == 0

    set_length(index, 9)
    with index.reading() as reader:
        assert reader.state().length == 9
