"""Outputs and runs of an earlier version (old_version/README.md): opened, continued, retried, exported and verified."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import Console

ARCHIVE = Path(__file__).parent / "old_version/d221cd8.tar.gz"
DONE, PAGES, PART = "20261129-064042-9393a6de", "20261129-064045-6e883627", "20261129-064046-2d8fc068"


@pytest.fixture
def old(tmp_path: Path) -> Console:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Console(tmp_path)


@pytest.fixture
def up(old: Console, redis_program: Path) -> Iterator[Console]:
    old.run("up", "--workers", "2")
    yield old
    old.run("down")


def values(old: Console, output: str) -> dict[int, int]:
    records = [json.loads(line) for line in (old.data / output).read_text().splitlines()]
    found = {record["index"]: record["value"] for record in records}
    assert len(found) == len(records), "an item is in the output twice"
    return found


def test_what_is_in_it_is_read_without_a_cluster(old: Console) -> None:
    """Nothing is up, nothing was ended properly: the indexes' logs are taken in, and every command answers."""
    runs = old.run("status").stdout
    failures = old.run("failures", DONE).stdout
    pages = old.run("failures", PAGES).stdout

    assert f"{DONE}  finished" in runs
    assert f"{PART}  unfinished  226 of 400" in runs
    assert "ValueError" in failures
    assert "no number: bad" in failures
    # What it called `TimedOut` has the one name that an item out of time has now.
    assert "Timeout" in failures
    assert "TimedOut" not in failures
    assert "404" in pages
    assert json.loads(old.run("get", "data/done.jsonl", "3").stdout)["value"] == 6
    assert "HTTP/1.1 200 OK" in old.run("get", "data/pages.warc.gz", "0").stdout
    for name in ("done.jsonl", "pages.warc.gz"):
        assert "OK" in old.run("verify", name, status=0).stdout


def test_an_unfinished_run_is_continued(up: Console) -> None:
    """Its queue was in an older Redis, its leases are those of workers long dead: each item is in the output once."""
    up.run("watch", PART)

    assert values(up, "part.jsonl") == {index: 2 * (1000 + index) for index in range(400)}
    assert "OK" in up.run("verify", "part.jsonl").stdout


def test_the_same_command_again_finds_the_run(up: Console) -> None:
    """What makes two submissions the same is computed as it was: nothing is done a second time."""
    again = up.run("map", "old:double", "part.txt", "-o", "part.jsonl", "--batch-size", "20")

    assert PART in again.stdout + again.stderr
    assert values(up, "part.jsonl") == {index: 2 * (1000 + index) for index in range(400)}
    assert len(up.runs()) == 3


def test_failures_of_its_class_are_tried_again_by_the_present_name(up: Console) -> None:
    up.run("retry", DONE, "--error", "Timeout")

    failures = up.run("failures", DONE, "--all").stdout
    assert sum("Timeout" in line for line in failures.splitlines()) == 1
    assert "OK" in up.run("verify", "done.jsonl").stdout


def test_its_outputs_are_exported_and_repaired(old: Console) -> None:
    """A torn tail is cut, as that version would have done it."""
    old.run("export", "done.jsonl", "in-order.csv")
    with open(old.data / "pages.warc.gz", "ab") as file:
        file.write(b"torn")

    assert "slow" not in (old.data / "in-order.csv").read_text()
    old.run("verify", "pages.warc.gz", status=1)
    old.run("repair", "pages.warc.gz", "--apply")
    assert "OK" in old.run("verify", "pages.warc.gz").stdout
