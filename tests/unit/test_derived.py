"""What an index notes twice: worked out from commits and failures, compared, and written anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.core.bitmap import Bitmap
from sheaf.output.index.database import Index
from sheaf.output.index.derived import Derived, derive, differences, drop_failures, write
from sheaf.output.index.rows import Size
from sheaf.output.output import Output
from sheaf.run.items import Done, Failed, Results

RUN = "r-1"
SIZE = Size(10, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """10 items in batches of 4, in two commits: 0 to 4 done, 5 and 9 failed."""
    output = Output.create(tmp_path / "pages.txt")
    output.register_run(RUN, 10, 4)
    output.commit({RUN: [Done(index, b"record\n") for index in (0, 1, 2)]}, worker="w", token=1)
    rest: Results = [Done(3, b"three\n"), Done(4, b"four\n"), Failed(5, "E", "", 1), Failed(9, "E", "", 1)]
    output.commit({RUN: rest}, worker="w", token=1)
    output.close()
    return output.path


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    made = Index(path, wait_s=60.0)
    yield made
    made.roll_back()
    made.drop()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(f"{path}.index", isolation_level=None)) as connection:
        connection.execute(statement)


def found(index: Index) -> list[str]:
    with index.reading() as reader:
        run = reader.run(RUN)
        return differences(reader, run, derive(reader, run.id, SIZE))


def test_it_follows_from_commits_and_failures(index: Index) -> None:
    with index.reading() as reader:
        derived = derive(reader, reader.run(RUN).id, SIZE)

    assert derived == Derived(SIZE, 5, 2, 32, settled={0: 0b1111, 1: 0b0011, 2: 0b10}, commits={0: [1, 2], 1: [2]})
    assert derived.complete_below == 1
    assert found(index) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE runs SET done = 6", "5 done, 2 failed, 32 bytes, but the index counted (6, 2, 32)"),
        ("UPDATE runs SET failed = 1", "the index counted (5, 1, 32)"),
        ("UPDATE runs SET complete_below = 2", "all batches below 2 are noted as complete, but 1 is not"),
        ("UPDATE batches SET settled = x'07' WHERE number = 1", "1 batches are noted with other items settled"),
        ("UPDATE batches SET left = 3 WHERE number = 1", "1 batches are noted with other items settled"),
        ("UPDATE batches SET commits = x'0101' WHERE number = 1", "or with other commits"),
        ("UPDATE batches SET commits = 'text' WHERE number = 1", "or with other commits"),
        ("DELETE FROM batches WHERE number = 0", "4 settled items are in no batch's row"),
    ],
)
def test_whatever_differs_is_said_and_written_anew(path: Path, index: Index, statement: str, words: str) -> None:
    """Afterwards nothing differs any more."""
    change(path, statement)
    assert [text for text in found(index) if words in text] != []

    writer = index.begin()
    run_id = writer.run(RUN).id
    write(writer, run_id, derive(writer, run_id, SIZE))
    index.commit()

    assert found(index) == []


def test_a_size_that_was_noted_wrongly_is_written_anew(path: Path, index: Index) -> None:
    change(path, "UPDATE runs SET items = 7, batch_size = 3")
    writer = index.begin()
    run_id = writer.run(RUN).id
    write(writer, run_id, derive(writer, run_id, SIZE))
    assert writer.run(RUN).size == SIZE


def test_failures_that_cannot_be_are_dropped(path: Path, index: Index) -> None:
    """Of an item that is in the output, that the run does not have, or that is no number; the others stay."""
    for item in ("3", "10", "-1", "'text'"):
        change(path, f"INSERT INTO failures VALUES (1, {item}, 'E', '', 1, 0)")
    done = Bitmap(10)
    done.add(0, 5)

    writer = index.begin()
    run = writer.run(RUN)

    assert drop_failures(writer, run.id, SIZE, done) == 4
    assert list(writer.failed_items(run.id)) == [5, 9]
