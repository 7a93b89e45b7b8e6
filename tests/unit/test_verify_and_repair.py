"""Verify and repair never contradict each other, and reading never hands out another item's record."""

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from os import environ
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign, SheafError
from sheaf.export import Export, export
from sheaf.output.output import Output
from sheaf.output.repair.repair import diagnose, repair
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done, Failed
from sheaf.run.run import Run
from tests.runs import RUN, numbered, write_run

ITEMS = 300


def record(index: int) -> bytes:
    return b'{"index":%d,"item":"item %d","value":"%s"}\n' % (index, index, b"x" * (index % 9))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished run in 10 commits, with holes, and every 29th item failed."""
    write_run(tmp_path, numbered(ITEMS), output="values.jsonl").mark_finished()
    output = Output.create(tmp_path / "values.jsonl")
    output.register_run(RUN, ITEMS, 7)
    for part in range(10):
        results: list[Done | Failed] = [
            Failed(index, "ValueError", f"no {index}", 1) if index % 29 == 28 else Done(index, record(index))
            for index in range(ITEMS)
            if index // 3 % 10 == part
        ]
        output.commit({RUN: results}, worker="w", token=1)
    output.close()
    return tmp_path / "values.jsonl"


def command(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from sheaf.cli.main import main; main()", *words],
        env={**environ, "SHEAF_DATA_DIR": str(path.parent)},
        capture_output=True,
        text=True,
    )


def finish(path: Path) -> None:
    """What workers do: commit every open item."""
    output = Output(path)
    run = Run.open(path.parent, RUN)
    indexes = [
        index
        for number in output.reader.unfinished_batches(RUN)
        for index in output.reader.remaining(RUN, run.manifest.batch(number))
    ]
    assert not (indexes and run.finished)
    output.commit({RUN: [Done(index, record(index)) for index in indexes]}, worker="again", token=2)
    output.close()


DAMAGES = {
    "UPDATE batches SET left = 1, settled = x'3f' WHERE number = 2": 0,
    "DELETE FROM batches WHERE number = 0": 0,
    "UPDATE batches SET commits = x'0109' WHERE number = 3": 0,
    "UPDATE batches SET commits = 'text' WHERE number = 3": 0,
    "UPDATE batches SET settled = 'text', left = 2 WHERE number = 3": 0,
    "UPDATE runs SET done = done - 1": 0,
    "UPDATE runs SET complete_below = 9999": 0,
    "UPDATE runs SET items = items + 1": 0,
    "UPDATE runs SET items = 7": 0,
    "UPDATE runs SET batch_size = 8": 0,
    "UPDATE state SET head = head + 1": 0,
    "UPDATE state SET tail = tail + 1": 0,
    "DELETE FROM failures WHERE item = 28": 1,
    "INSERT INTO failures VALUES (1, 5, 'E', 'm', 1, 0)": 0,
    "INSERT INTO failures VALUES (1, 5000, 'E', 'm', 1, 0)": 0,
    "UPDATE failures SET item = 29 WHERE item = 28": 1,
    "UPDATE commits SET lengths = x'07' WHERE id = 2": 30,
    "UPDATE commits SET ranges = (SELECT ranges FROM commits WHERE id = 2) WHERE id = 3": 30,
    "UPDATE commits SET (ranges, low, high) = (SELECT ranges, low, high FROM commits WHERE id = 2) WHERE id = 3": 30,
    "UPDATE commits SET ranges = 5 WHERE id = 3": 30,
    "UPDATE commits SET checksum = checksum + 1 WHERE id = 3": 30,
    "UPDATE commits SET low = low + 1 WHERE id = 3": 30,
    "UPDATE commits SET items = items + 1 WHERE id = 3": 30,
}


@pytest.mark.parametrize(("damage", "reopened"), DAMAGES.items())
def test_what_verify_finds_in_the_index_is_mended(path: Path, damage: str, reopened: int) -> None:
    """Nothing is lost that follows from anything; what does not is done again; and then all is well."""
    with closing(sqlite3.connect(path.with_name("values.jsonl.index"), isolation_level=None)) as connection:
        connection.execute(damage)
    assert not verify(path.parent, path).ok
    assert diagnose(path.parent, path.name).needed

    repair(path.parent, path.name)

    report = verify(path.parent, path)
    assert report.problems == []
    assert reopened - 2 <= report.missing <= reopened
    assert not diagnose(path.parent, path.name).needed
    finish(path)
    assert verify(path.parent, path).ok


@pytest.mark.parametrize("place", ["runs", "sqlite_autoindex_runs_1"])
def test_a_runs_name_that_is_another_where_sqlite_looks_it_up_is_mended(path: Path, place: str) -> None:
    """One bit of it, in the table or in the index by which the table's row is found: the run that there is has it."""
    index = path.with_name("values.jsonl.index")
    with closing(sqlite3.connect(index)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (place,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(index.read_bytes())
    at = data.index(RUN.encode(), (page - 1) * size, page * size)
    data[at] ^= 1
    index.write_bytes(data)
    with pytest.raises(IndexForeign, match="row 1 missing from index"):
        verify(path.parent, path)

    assert repair(path.parent, path.name).needed

    assert verify(path.parent, path).ok
    output = Output(path)
    assert output.records.one(RUN, 0) == record(0)
    output.close()


def test_what_cannot_be_mended_is_said(path: Path) -> None:
    """A run that is not in the data folder any more, known with sizes that contradict its commits; stray bytes."""
    with open(path, "ab") as stranger:
        stranger.write(b"stray")
    assert "beyond the last commit" in command(path, "verify", path.name).stdout
    assert command(path, "repair", path.name).returncode == 1
    applied = command(path, "repair", path.name, "--apply")
    assert (applied.returncode, applied.stderr) == (0, "bytes of another program were moved aside\n")
    assert command(path, "verify", path.name).returncode == 0
    assert path.with_name("values.jsonl.stray-1").read_bytes() == b"stray"

    with closing(sqlite3.connect(path.with_name("values.jsonl.index"), isolation_level=None)) as connection:
        connection.execute("UPDATE commits SET offset = offset + 1 WHERE id = 3")
    for words in (("repair", path.name), ("repair", path.name, "--apply")):
        refused = command(path, *words)
        assert refused.returncode == 1
        assert "contradicts itself" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_one_flipped_bit_anywhere_in_the_index(path: Path) -> None:
    """A seeded sample over all that is in it: verify and repair agree, every read is right or one clear error."""
    index = path.with_name("values.jsonl.index")
    good, content = index.read_bytes(), path.read_bytes()
    written = [place for place, byte in enumerate(good) if byte]
    chance = random.Random(18)
    outcomes: Counter[str] = Counter()
    for _ in range(150):
        for side in path.parent.glob("values.jsonl*"):
            side.unlink()
        damaged = bytearray(good)
        damaged[chance.choice(written)] ^= 1 << chance.randrange(8)
        index.write_bytes(damaged)
        path.write_bytes(content)
        outcomes[_quarantine(path, chance)] += 1

    assert outcomes["whole"] > 0
    assert outcomes["mended"] > 5
    assert outcomes["refused"] > 0


def _quarantine(path: Path, chance: random.Random) -> str:
    output = Output(path)
    for item in chance.sample(range(ITEMS), 5):
        with suppress(SheafError):
            assert output.records.one(RUN, item) == record(item)
    output.close()
    with suppress(SheafError):
        export(Export(path, RUN, path.with_name("copy.jsonl"), ordered=True))
        lines = path.with_name("copy.jsonl").read_bytes().splitlines(keepends=True)
        assert set(lines) <= {record(item) for item in range(ITEMS)}
        assert len(lines) == len(set(lines))
    try:
        problems = verify(path.parent, path).problems
        missing = verify(path.parent, path).missing
    except SheafError as error:
        problems, missing = [str(error)], 0
    try:
        needed = diagnose(path.parent, path.name).needed
        repair(path.parent, path.name)
    except SheafError as error:
        assert problems, error
        return "refused"
    assert needed or not problems
    report = verify(path.parent, path)
    assert report.problems == []
    assert report.missing <= 33
    return "mended" if needed or missing else "whole"
