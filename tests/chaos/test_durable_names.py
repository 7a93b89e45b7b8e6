"""A run, its marks and the folders above them are on the disk when the command reports them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.durable_names import PROMISED, RUN
from tests.chaos.tracer import NAMES

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not NAMES, reason="the tracer knows the system calls of x86_64 and aarch64 only")


def follow(folder: Path, dropped: str = "") -> dict[str, Any]:
    """In a process without threads, as the tracer forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.durable_names", folder.resolve(), dropped],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["status"] == 0
    assert found["marks"] == list(PROMISED)
    return found


def test_what_a_run_consists_of_survives_a_power_cut_from_the_moment_it_is_told(tmp_path: Path) -> None:
    """Also on a file system that orders no names, and keeps none without a sync of its folder."""
    assert follow(tmp_path)["problems"] == []


@pytest.mark.parametrize(
    ("dropped", "lost"),
    [
        (".", f"published: runs/{RUN}/items is not on the disk"),
        ("runs", f"published: runs/{RUN}/items is not on the disk"),
        (f"runs/{RUN}:0", f"finished: runs/{RUN}/finished is not on the disk"),
        (f"runs/{RUN}:1", f"reopened: runs/{RUN}/finished comes back"),
        (f"runs/{RUN}:2", f"cancelled: runs/{RUN}/cancelled is not on the disk"),
        (f"runs/{RUN}:3", f"resumed: runs/{RUN}/cancelled comes back"),
        (f"runs/.{RUN}/items", f"published: runs/{RUN}/items is not on the disk"),
        ("deep", "created: deep/down/o.txt.index is not on the disk"),
        ("deep/down", "committed: deep/down/o.txt is not on the disk"),
    ],
)
def test_each_of_the_syncs_is_needed(tmp_path: Path, dropped: str, lost: str) -> None:
    """Without it something is lost, or a mark comes back that hides what was reopened."""
    assert lost in follow(tmp_path, dropped)["problems"]
