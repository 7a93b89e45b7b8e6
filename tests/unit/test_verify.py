"""Verify finds what is wrong: in the file, in the index, between both, and between them and the manifests."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign, IndexMissing, OutputMissing
from sheaf.output.output import Output
from sheaf.output.repair.repair import diagnose
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done, Failed
from tests.runs import RUN, numbered, write_run

ITEMS = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data folder with a finished run in two commits: items 0 to 19, then 20 to 38, 39 failed."""
    write_run(tmp_path, numbered(ITEMS), RUN, output="pages.txt")
    output = Output.create(tmp_path / "pages.txt", header=b"HEADER\n")
    output.register_run(RUN, ITEMS, 7)
    output.commit({RUN: [Done(index, b"record %d\n" % index) for index in range(20)]}, worker="w", token=1)
    last = [Done(index, b"record %d\n" % index) for index in range(20, 39)]
    output.commit({RUN: [*last, Failed(39, "Timeout", "too slow", 3)]}, worker="w", token=1)
    output.close()
    return tmp_path / "pages.txt"


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path.with_name("pages.txt.index")) as connection:
        connection.execute(statement)
    connection.close()


def test_a_whole_output_is_found_whole(path: Path) -> None:
    """All counts, and nothing to complain about; by name, by path, or one run of it."""
    for report in (verify(path.parent, "pages.txt"), verify(path.parent, path), verify(path.parent, path, RUN)):
        assert report.ok, report.problems
        assert (report.items, report.done, report.failed) == (40, 39, 1)
        assert (report.missing, report.duplicate, report.torn, report.stray_bytes) == (0, 0, 0, 0)
        assert report.length == path.stat().st_size


def test_a_run_that_goes_on_is_sound_but_not_complete(path: Path) -> None:
    """Items that are still to come are missing, which is no damage; a run that never began misses all of them."""
    output = Output(path)
    output.register_run("20260102-000000-abcdef", 3, 1)
    output.commit({"20260102-000000-abcdef": [Done(1, b"one\n")]}, worker="w", token=1)
    output.close()
    write_run(path.parent, numbered(ITEMS), "20260103-000000-abcdef", output="pages.txt")
    write_run(path.parent, numbered(ITEMS), "20260104-000000-abcdef", output="other.txt")

    report = verify(path.parent, path)

    assert report.problems == []
    assert not report.ok
    assert [(run.run[:8], run.missing) for run in report.runs] == [("20260101", 0), ("20260102", 2), ("20260103", 40)]


@pytest.mark.parametrize("place", [0, 10, -3])
def test_a_changed_byte_is_found(path: Path, place: int) -> None:
    """In the header, in the first commit or in the last."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)

    report = verify(path.parent, path)

    assert not report.ok
    assert report.torn == {0: 1, 10: 20, -3: 19}[place]
    assert "its bytes are not those that were written" in report.problems[0]


def test_a_shortened_file_and_one_that_goes_on_are_found(path: Path) -> None:
    """Bytes that are gone tear records; bytes beyond the last commit are foreign."""
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    report = verify(path.parent, path)
    assert (report.torn, report.stray_bytes) == (19, 0)
    assert "5 of its bytes are gone" in report.problems[0]

    path.write_bytes(content + b"torn rec")
    report = verify(path.parent, path)
    assert (report.torn, report.stray_bytes) == (1, 8)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE commits SET ranges = (SELECT ranges FROM commits WHERE id = 2) WHERE id = 3", "twice"),
        ("INSERT INTO failures VALUES (1, 5, 'E', 'm', 1, 0)", "twice, or both done and failed"),
        ("UPDATE batches SET left = 1, settled = x'3f' WHERE number = 2", "1 batches are noted"),
        ("DELETE FROM batches WHERE number = 0", "7 settled items are in no batch's row"),
        ("UPDATE runs SET done = done - 1", "but the index counted"),
        ("UPDATE commits SET offset = offset + 1 WHERE id = 3", "begins at byte"),
        ("UPDATE state SET length = length - 1", "are noted as committed"),
        ("UPDATE commits SET lengths = x'0105' WHERE id = 2", "does not add up"),
        ("UPDATE commits SET lengths = x'07' WHERE id = 2", "cannot be read"),
        ("UPDATE runs SET items = 39", "1 settled items are none of its 39"),
        ("UPDATE runs SET items = 41", "has 40 items, but the index knows it with 41"),
    ],
)
def test_an_index_that_contradicts_itself_is_found(path: Path, statement: str, found: str) -> None:
    """Whatever two places say about the same thing is compared."""
    change(path, statement)

    report = verify(path.parent, path)

    assert not report.ok
    assert any(found in problem for problem in report.problems), report.problems


@pytest.mark.parametrize("column", ["commits.offset", "commits.ranges", "runs.items", "batches.left", "state.output"])
def test_an_index_with_pages_of_different_moments_is_called_damaged(path: Path, column: str) -> None:
    """A disk that dropped SQLite's own syncs leaves rows without values; verify and repair name it, and end."""
    table, _, name = column.partition(".")
    with sqlite3.connect(path.with_name("pages.txt.index")) as connection:
        # What SQLite itself would refuse to write.
        connection.execute("PRAGMA writable_schema = ON")
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        loose = re.sub(rf"\b{name} (\w+) NOT NULL", rf"{name} \1", sql)
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, table))
    connection.close()
    change(path, f"UPDATE {table} SET {name} = NULL")
    with sqlite3.connect(path.with_name("pages.txt.index")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, table))
    connection.close()

    for look in (lambda: verify(path.parent, path), lambda: diagnose(path.parent, path.name)):
        with pytest.raises(IndexForeign, match=r"pages.txt.index cannot be read as an index \(.*NULL value"):
            look()


def test_an_index_without_its_state_is_called_damaged(path: Path) -> None:
    """The one row that everything hangs on is gone."""
    change(path, "DELETE FROM state")

    with pytest.raises(IndexForeign, match="its state is missing"):
        verify(path.parent, path)


def test_without_an_output_or_an_index_there_is_nothing_to_verify(path: Path) -> None:
    """Said as an error, not as an empty report; and an unknown run is no whole run."""
    assert "knows a run unknown" in verify(path.parent, path, "unknown").problems[0]
    with pytest.raises(IndexMissing):
        verify(path.parent, "other.txt")
    path.unlink()
    with pytest.raises(OutputMissing):
        verify(path.parent, path)


def at_step(wanted: str, act: Callable[[], None]) -> Callable[[str], None]:
    return lambda name: act() if name == wanted else None


def test_an_append_in_progress_is_not_taken_for_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes beyond the committed length that a living writer is about to commit are its own."""
    monkeypatch.setattr("sheaf.output.repair.verify._WRITER_WAIT_S", 0.2)
    reports = []
    output = Output(path, steps=at_step("sync", lambda: reports.append(verify(path.parent, path, RUN))))
    output.register_run("another", 1, 1)

    output.commit({"another": [Done(0, b"more\n")]}, worker="w", token=1)

    assert reports[0].ok, reports[0].problems
    output.close()
