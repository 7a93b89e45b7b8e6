"""A short slice of `make chaos`: faults are survived, and a protocol without a safeguard is caught."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from sheaf.chaos.plan import LEASES, make_plan
from tests.console import SHEAF

pytestmark = [pytest.mark.redis, pytest.mark.timeout(400)]

#: Seeds of the slice; `make chaos` runs hundreds.
SEEDS = 12


#: Seconds that a slice may take on a machine that is busy with other things.
LONGEST_S = 380


def torture(folder: Path, *arguments: str) -> str:
    """Run `sheaf torture` in a folder; return what it printed. It must end well."""
    jobs = str(min(4, os.cpu_count() or 1))
    done = subprocess.run(
        [SHEAF, "torture", "--jobs", jobs, "--folder", "runs", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outcomes(results: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_a_dozen_seeds_lose_double_and_tear_nothing(tmp_path: Path) -> None:
    """Kills, stops, errors, damage and poison: each page is there once and whole, and the page about it says so."""
    results, page = tmp_path / "results.jsonl", tmp_path / "proof.md"

    said = torture(tmp_path, "--seeds", str(SEEDS), "--short", "--results", str(results), "--report", str(page))

    assert f"{SEEDS} runs" in said
    assert "0 lost, 0 doubled, 0 torn" in said
    noted = outcomes(results)
    assert sorted(int(str(outcome["seed"])) for outcome in noted) == list(range(1, SEEDS + 1))
    assert all(outcome["ok"] for outcome in noted)
    assert sum(bool(outcome["faults"]) for outcome in noted) >= SEEDS // 2
    assert "| **0** | **0** | **0** | 0 | 0 | 0 | 0 |" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["runs"] == SEEDS
    assert list((tmp_path / "runs").glob("seed-*")) == []


def test_a_sabotaged_protocol_is_caught(tmp_path: Path) -> None:
    """The check can fail: without the cut of torn appends the same kit finds something wrong, and keeps it."""
    said = torture(tmp_path, "--sabotage", "truncate", "--only", "kill-fence-holder")

    assert "WRONG" in said
    assert "The sabotage was found" in said
    (kept,) = [path for path in (tmp_path / "runs").glob("seed-*") if f"kept: {path}" in said]
    assert (kept / "outcome.json").exists()
    assert list((kept / "data").glob("pages.*"))


def test_tiny_items_are_there_once_though_a_worker_is_killed_every_second(tmp_path: Path) -> None:
    """50,000 items of a function, a kill -9 every second: each index once, with its value; no line torn."""
    results = tmp_path / "results.jsonl"

    said = torture(tmp_path, "--tiny", "50000", "--kill-every", "1", "--results", str(results))

    assert "50,000 items" in said
    assert "0 lost, 0 doubled, 0 torn" in said
    (noted,) = outcomes(results)
    assert (noted["finished"], noted["failed"], noted["unexpected_exits"]) == (True, 0, [])
    assert int(str(noted["kills"])) >= 1


def test_a_seed_is_always_the_same_plan() -> None:
    """What failed can be tried again: format, sizes and faults come from the seed alone."""
    quick = LEASES["quick"]

    assert make_plan(4711, quick) == make_plan(4711, quick)
    assert make_plan(4711, quick) != make_plan(4712, quick)
    assert make_plan(4711, quick, short=True) == make_plan(4711, quick, short=True)
