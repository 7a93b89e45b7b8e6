"""One write transaction: what it finds is checked, what it leaves unfinished is undone, what is beyond L is cleared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import FenceTimeout, IndexForeign, OutputShortened, OutputUnwritable
from sheaf.output.commit.data_file import OutputFile
from sheaf.output.commit.transaction import WriteTransactions
from sheaf.output.index.database import Index
from sheaf.output.index.intent import Intent
from tests.patches import raising


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "pages.txt", wait_s=60.0)
    made.create(b"")
    yield made
    made.drop()


@pytest.fixture
def steps() -> list[str]:
    return []


@pytest.fixture
def transactions(index: Index, steps: list[str]) -> WriteTransactions:
    return WriteTransactions(index, steps.append)


def append(transactions: WriteTransactions, data: bytes, index: Index) -> None:
    """As a commit does, without a row for it."""
    with transactions.begin("w") as transaction:
        file = transaction.file
        file.append([data], lambda _: None, to_be_synced=True)
        edges = file.edges_after([data], transaction.state)
        transaction.index.set_file(transaction.state.length + len(data), file.identity, edges)
        index.commit()


def test_it_has_the_fence_and_names_its_owner(transactions: WriteTransactions, index: Index) -> None:
    other = Index(index.output, wait_s=0.0)
    with transactions.begin("worker-1"):
        owner = other.note.owner()
        assert owner is not None and owner.who == "worker-1"
        with pytest.raises(FenceTimeout):
            other.begin()
    other.begin()
    other.drop()


def test_what_was_not_committed_is_undone_in_file_and_index(transactions: WriteTransactions, index: Index) -> None:
    """The error passes as ours, whether the disk or SQLite had it."""
    append(transactions, b"committed\n", index)
    for error in (OSError(28, "No space left on device"), sqlite3.OperationalError("disk I/O error")):
        if isinstance(error, sqlite3.Error):
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
        fail: Callable[[], object] = raising(error)
        with pytest.raises(OutputUnwritable, match="nothing was committed"), transactions.begin("w") as transaction:
            transaction.file.append([b"torn"], lambda _: None, to_be_synced=True)
            transaction.index.set_file(1000, "", (0, 0))
            fail()
        assert index.output.read_bytes() == b"committed\n"
        with index.reading() as reader:
            assert reader.state().length == 10


def test_our_torn_append_is_cut_after_a_seal(transactions: WriteTransactions, index: Index, steps: list[str]) -> None:
    """A writer that was killed leaves bytes that its note explains; the seal is committed before they are cut."""
    append(transactions, b"committed\n", index)
    index.note.write(Intent(10, 8, b"torn".hex(), "dead", 1))
    with open(index.output, "ab") as file:
        file.write(b"torn")
    steps.clear()

    with transactions.begin("w") as transaction:
        assert transaction.state.seals == 1
        assert index.output.read_bytes() == b"committed\n"

    assert steps == ["begin", "look", "seal", "begin", "look", "cut"]
    assert not index.output.with_name("pages.txt.stray-1").exists()


def test_a_strangers_bytes_are_moved_aside(transactions: WriteTransactions, index: Index) -> None:
    append(transactions, b"committed\n", index)
    with open(index.output, "ab") as file:
        file.write(b"a stranger's")

    with transactions.begin("w"):
        pass

    assert index.output.read_bytes() == b"committed\n"
    assert index.output.with_name("pages.txt.stray-1").read_bytes() == b"a stranger's"


def test_an_index_of_another_name_is_refused(transactions: WriteTransactions, index: Index, tmp_path: Path) -> None:
    """Its output was renamed, or it was copied beside another one."""
    append(transactions, b"committed\n", index)
    index.drop()
    for path in tmp_path.glob("pages.txt*"):
        path.rename(path.with_name(path.name.replace("pages", "other")))
    renamed = Index(tmp_path / "other.txt", wait_s=60.0)

    refused = pytest.raises(IndexForeign, match=r"is the index of pages\.txt, not of other\.txt")
    with refused, WriteTransactions(renamed, lambda _: None).begin("w"):
        pass
    assert not renamed.begun
    renamed.drop()


def test_a_file_that_lost_committed_bytes_is_refused(transactions: WriteTransactions, index: Index) -> None:
    """And the fence is free again."""
    append(transactions, b"committed\n", index)
    index.output.write_bytes(b"comm")

    with pytest.raises(OutputShortened, match="6 bytes are gone"), transactions.begin("w"):
        pass
    assert not index.begun
    assert index.output.read_bytes() == b"comm"


def test_an_append_that_cannot_be_undone_is_cut_by_the_next_one(
    transactions: WriteTransactions, index: Index, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(transactions, b"committed\n", index)

    with monkeypatch.context() as broken, pytest.raises(OutputUnwritable):
        broken.setattr(OutputFile, "undo", raising(OSError(5, "Input/output error")))
        with transactions.begin("w") as transaction:
            index.note.write(Intent(10, 5, b"torn\n".hex(), "w", 1))
            transaction.file.append([b"torn\n"], lambda _: None, to_be_synced=True)
            raise OSError(28, "No space left on device")

    assert "could not cut the torn append" in caplog.text
    assert index.output.read_bytes() == b"committed\ntorn\n"
    append(transactions, b"next\n", index)
    assert index.output.read_bytes() == b"committed\nnext\n"
