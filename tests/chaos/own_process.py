"""Runs a module of these tests in a process of its own: without threads, as the tracer forks, and in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_in_own_process(module: str, scene: str, variant: str = "") -> dict[str, Any]:
    """Return what `python -m tests.chaos.MODULE SCENE FOLDER VARIANT` prints, as JSON."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        done = subprocess.run(
            [sys.executable, "-m", f"tests.chaos.{module}", scene, Path(folder).resolve(), variant],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
