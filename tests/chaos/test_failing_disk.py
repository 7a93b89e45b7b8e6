"""A sync that fails once, on file systems of a real kernel: what is acknowledged afterwards is on the disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.failing_disk import FILE_SYSTEMS

ROOT = Path(__file__).parents[2]


def _why_not(file_system: str) -> str:
    """Why this machine cannot; "" if it can: then it must, on a machine that checks every change as well."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    tool, kernel = FILE_SYSTEMS[file_system][0][0], file_system.partition(" ")[0]
    if shutil.which(tool) is None:
        return f"{tool} is not installed"
    subprocess.run(["modprobe", kernel], capture_output=True, check=False) if shutil.which("modprobe") else None
    if kernel not in Path("/proc/filesystems").read_text().split():
        return f"this kernel has no {kernel}"
    probe = subprocess.run(["losetup", "-f"], capture_output=True, text=True)
    return "" if probe.returncode == 0 else f"no loop device is to be had: {probe.stderr.strip()}"


def fail_once(file_system: str, folder: Path, mutation: str = "") -> dict[str, Any]:
    if why := _why_not(file_system):
        pytest.skip(why)
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.failing_disk", file_system, str(folder), mutation],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout)
    print(file_system, seen)
    assert seen["writer"]["acknowledged"] == [], "the disk did not fail"
    return seen


@pytest.mark.parametrize("file_system", FILE_SYSTEMS)
def test_what_is_acknowledged_after_a_failed_sync_survives(file_system: str, tmp_path: Path) -> None:
    """The next process sees, or does not see, what was not acknowledged; what it builds on it is there after all."""
    seen = fail_once(file_system, tmp_path)

    assert len(seen["later"]["acknowledged"]) >= 4
    assert set(seen["later"]["acknowledged"]) | {0, 1} <= set(seen["after"]["there"])
    assert seen["after"]["problems"] == []


def test_a_log_that_is_trusted_loses_them(tmp_path: Path) -> None:
    """The check can fail: with the log as it is found, acknowledged records are gone after the next mount.

    Not each time: a kernel that is short of memory, or is asked to sync by another process, may write them in between.
    """
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        seen = fail_once("ext4", folder, "the log is trusted")
        if not set(seen["later"]["acknowledged"]) <= set(seen["after"]["there"]):
            return
    pytest.fail("five times nothing was lost: what the other tests of this file show is not that the log is mended")
