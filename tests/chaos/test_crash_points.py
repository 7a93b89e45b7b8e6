"""Kill -9 between each two system calls of a commit, and in the middle of each write: nothing lost, doubled or torn."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proof import note
from tests.chaos.scenes import SCENES
from tests.chaos.tracer import NAMES

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not NAMES, reason="the tracer knows the system calls of x86_64 and aarch64 only"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a kill loses nothing that was written, whatever holds it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name).resolve()


def crash_everywhere(folder: Path, scene: str, mutation: str = "") -> dict[str, Any]:
    """In a process without threads: the tracer forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash_points", scene, folder, mutation],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("scene", SCENES)
def test_a_kill_before_any_system_call_loses_and_doubles_nothing(folder: Path, scene: str) -> None:
    """Whatever call the kill comes before: what was acknowledged stays, the rest is redone, each record is there once.

    The scenes: creating an output; its first commit, which writes the header; a later one; one that takes over from a
    writer that was killed in mid-append; one that finds a stranger's bytes; commits that end with closing the index.
    """
    began = time.monotonic()
    found = crash_everywhere(folder, scene)

    tried = {"system calls": found["calls"], "kills": found["kills"]}
    note(f"tests/chaos/test_crash_points.py, {scene}", tried, len(found["problems"]), began)
    assert found["problems"] == []
    assert found["kills"] >= 80, found


@pytest.mark.parametrize(("mutation", "scene"), [("no truncate", "later"), ("no dedupe", "first")])
def test_the_check_finds_a_broken_protocol(folder: Path, mutation: str, scene: str) -> None:
    """With a torn tail not cut, or what is settled not dropped, the same kills leave torn or doubled records."""
    assert crash_everywhere(folder, scene, mutation)["problems"]
