"""What a repair would do, before it does anything: which commits are whole, which are lost, what is noted wrongly."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign, OutputReplaced
from sheaf.output.output import Output
from sheaf.output.repair.diagnosis import Diagnosis, diagnose, list_strays
from sheaf.run.items import Done
from tests.runs import RUN, numbered, write_run

NAME = "pages.txt"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A header, and three commits of two items each; 10 bytes an item."""
    write_run(tmp_path, numbered(6), output=NAME)
    output = Output.create(tmp_path / NAME, header=b"HEADER\n")
    output.register_run(RUN, 6, 7)
    for first in (0, 2, 4):
        output.commit({RUN: [Done(item, b"record %2d\n" % item) for item in (first, first + 1)]}, worker="w", token=1)
    output.close()
    return output.path


def look(path: Path) -> Diagnosis:
    """Diagnose; nothing may change by that."""
    before = {each: each.read_bytes() for each in (path, path.with_name(f"{NAME}.index")) if each.is_file()}
    found = diagnose(path.parent, NAME)
    assert all(each.read_bytes() == data for each, data in before.items())
    return found


def ids(found: Diagnosis) -> tuple[list[int], list[int]]:
    return [commit.row.id for commit in found.kept], [commit.row.id for commit in found.lost]


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(f"{path}.index", isolation_level=None)) as connection:
        connection.execute(statement)


def test_of_a_whole_output_nothing_is_lost(path: Path) -> None:
    found = look(path)
    assert ids(found) == ([1, 2, 3, 4], [])
    assert (found.length, found.size, found.new_length, found.beyond) == (67, 67, 67, 0)
    assert not found.needed


def test_a_shortened_file_needs_only_to_be_cut(path: Path) -> None:
    os.truncate(path, 60)
    found = look(path)
    assert ids(found) == ([1, 2, 3], [4])
    assert found.needed and found.in_place
    assert dict(found.reopened) == {RUN: 2}


def test_damage_in_the_middle_needs_a_new_file(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)

    found = look(path)

    assert ids(found) == ([1, 2, 4], [3])
    assert not found.in_place
    assert found.new_length == 47


def test_a_damaged_header_is_known_and_not_lost(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"HEADER", b"header"))

    found = look(path)

    assert ids(found) == ([1, 2, 3, 4], [])
    assert found.header == b"HEADER\n"
    assert found.needed and not found.in_place


def test_what_an_unfinished_repair_put_aside_is_found_there(path: Path) -> None:
    """The last such file first; a link among them is not followed."""
    whole = path.read_bytes()
    for number in (1, 2):
        path.with_name(f"{NAME}.damaged-{number}").write_bytes(whole)
    path.with_name(f"{NAME}.damaged-3").symlink_to(path.with_name(f"{NAME}.damaged-1"))
    path.write_bytes(whole[:50])

    found = look(path)

    assert ids(found) == ([1, 2, 3, 4], [])
    assert [commit.source for commit in found.kept] == [None, None, None, path.with_name(f"{NAME}.damaged-2")]
    assert found.from_aside and found.needed
    assert found.strays == list_strays(path) == [path.with_name(f"{NAME}.damaged-{number}") for number in (1, 2, 3)]


def test_a_file_that_is_gone_has_lost_everything(path: Path) -> None:
    """And one that is no file is refused."""
    path.unlink()
    assert look(path).size is None
    assert ids(look(path)) == ([], [1, 2, 3, 4])

    path.mkdir()
    with pytest.raises(OutputReplaced, match="is a folder now"):
        diagnose(path.parent, NAME)
    path.rmdir()
    os.mkfifo(path)
    os.close(os.open(path, os.O_RDWR))
    with pytest.raises(OutputReplaced, match="not a regular file"):
        reading = os.open(path, os.O_RDWR)
        try:
            diagnose(path.parent, NAME)
        finally:
            os.close(reading)


def test_a_commit_that_cannot_be_believed_is_lost(path: Path) -> None:
    """It contradicts itself, or has an item that an earlier one has."""
    change(path, "UPDATE commits SET items = 3 WHERE id = 3")
    change(
        path,
        "UPDATE commits SET (ranges, low, high) = (SELECT ranges, low, high FROM commits WHERE id = 2) WHERE id = 4",
    )

    found = look(path)

    assert ids(found) == ([1, 2], [3, 4])
    assert [commit.broken is not None for commit in found.lost] == [True, True]
    assert "does not add up" in str(found.lost[0].broken)
    assert "in the output already" in str(found.lost[1].broken)


def test_what_is_noted_wrongly_is_mended(path: Path) -> None:
    """The sizes of a run are those of its manifest."""
    change(path, "UPDATE runs SET items = 9, done = 5")
    change(path, "UPDATE state SET head = head + 1")

    mends = look(path).mends

    assert (None, "the bytes by which the output is recognised are noted wrongly") in mends
    assert (RUN, "noted with 9 items in batches of 7, but has 6 in 7") in mends
    assert [text for run, text in mends if run == RUN and "6 done" in text] != []


def test_a_run_whose_list_is_gone_is_named(path: Path) -> None:
    """Its lost items cannot be done again."""
    os.truncate(path, 60)
    (path.parent / "runs" / RUN / "run.json").unlink(missing_ok=True)
    for each in (path.parent / "runs" / RUN).iterdir():
        each.unlink()
    (path.parent / "runs" / RUN).rmdir()

    assert look(path).orphans == [RUN]


def test_commits_that_do_not_follow_one_another_are_no_measure(path: Path) -> None:
    change(path, "UPDATE commits SET offset = offset + 1 WHERE id = 3")
    with pytest.raises(IndexForeign, match="contradicts itself"):
        diagnose(path.parent, NAME)
