"""A lock that SQLite failed to give back: the writer that has it must not wait for itself for ever."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from sheaf.core.errors import FenceTimeout
from sheaf.output.output import Output
from sheaf.run.items import Done


class Pretends:
    """SQLite's connection after an unlock that failed: busy for everybody, itself included."""

    in_transaction = False

    def __init__(self, holder: sqlite3.Connection, other: sqlite3.Connection) -> None:
        self._holder = holder
        self._other = other

    def execute(self, statement: str) -> object:
        return self._other.execute(statement)

    def close(self) -> None:
        self._holder.close()


def test_a_fence_that_our_own_connection_never_gave_back_is_given_back_with_it(tmp_path: Path) -> None:
    """After one wait in vain the next try has a connection of its own, and the old one's locks are gone."""
    output = Output.create(tmp_path / "o.jsonl", fence_wait_s=0.3)
    output.register_run("r-1", 2, 2)
    # What the failed unlock leaves behind: the process has the write lock, and no transaction knows of it.
    connection = output._index.connect()
    connection.execute("BEGIN IMMEDIATE")
    stuck = output._index

    other = stuck.open(timeout_s=0.0)
    stuck._connection = Pretends(connection, other)  # type: ignore[assignment]

    with pytest.raises(FenceTimeout):
        output.commit({"r-1": [Done(0, b"0\n")]}, worker="w", token=1)
    other.close()

    assert output.commit({"r-1": [Done(0, b"0\n")]}, worker="w", token=1).length == 2
    output.close()


def test_a_look_whose_own_connection_never_gave_a_lock_back_gives_it_back(tmp_path: Path) -> None:
    """A killed writer leaves a log that the next reader reads anew under locks; giving those back may fail, too."""
    output = Output.create(tmp_path / "o.jsonl", fence_wait_s=0.3)
    output.register_run("r-1", 2, 2)
    index = output._index
    connection = index.connect()
    connection.execute("BEGIN IMMEDIATE")
    other = index.open(timeout_s=0.0)

    class Busy(Pretends):
        def execute(self, statement: str) -> object:
            return other.execute("BEGIN IMMEDIATE" if statement.startswith("SELECT") else "PRAGMA user_version")

    index._connection = Busy(connection, other)  # type: ignore[assignment]

    with pytest.raises(FenceTimeout):
        output.reader.run("r-1")
    other.close()

    assert output.reader.run("r-1") is not None
    assert output.commit({"r-1": [Done(0, b"0\n")]}, worker="w", token=1).length == 2
    output.close()


@pytest.mark.parametrize("in_use", [False, True], ids=["idle", "in use"])
def test_a_fence_that_another_connection_of_this_process_never_gave_back(tmp_path: Path, in_use: bool) -> None:
    """SQLite keeps such a lock until a process has closed every connection to the index: chaos seed 100172."""
    output = Output.create(tmp_path / "o.jsonl", fence_wait_s=0.3)
    output.register_run("r-1", 2, 2)
    kept = Output(tmp_path / "o.jsonl")
    connection = kept._index.connect()
    connection.execute("BEGIN IMMEDIATE")
    other = kept._index.open(timeout_s=0.0)
    kept._index._connection = Pretends(connection, other)  # type: ignore[assignment]

    def commit() -> int:
        return output.commit({"r-1": [Done(0, b"0\n")]}, worker="w", token=1).length

    with kept._index.reading() if in_use else contextlib.nullcontext(), pytest.raises(FenceTimeout):
        commit()

    assert commit() == 2
    other.close()
    assert kept.reader.run("r-1").done == 1
    kept.close()
    output.close()


def test_connections_to_other_indexes_stay_open(tmp_path: Path) -> None:
    output = Output.create(tmp_path / "o.jsonl", fence_wait_s=0.1)
    output.register_run("r-1", 2, 2)
    elsewhere = Output.create(tmp_path / "elsewhere.jsonl")
    elsewhere.register_run("r-1", 2, 2)
    generation = elsewhere._index.generation
    blocker = Output(tmp_path / "o.jsonl")
    blocker._index.begin()

    with pytest.raises(FenceTimeout):
        output.commit({"r-1": [Done(0, b"0\n")]}, worker="w", token=1)

    assert blocker._index.begun, "what is in the middle of a commit is not disturbed"
    blocker._index.roll_back()
    assert elsewhere.reader.run("r-1") is not None
    assert elsewhere._index.generation == generation
    for each in (output, blocker, elsewhere):
        each.close()
