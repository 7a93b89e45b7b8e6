"""Write a scenario's result down with what a reader needs to judge it: machine, versions, date, code, all repeats."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
PEERS_PYTHON = ROOT / "benchmarks/.venv/bin/python"
#: The packages of our own environment that matter for speed.
OURS = ("rq", "redis", "pycurl", "isal", "orjson", "pydantic-core")


def write(name: str, rows: Sequence[dict[str, Any]], facts: dict[str, Any]) -> Path:
    """Replace one scenario's file; the others stay as they are."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    draft = path.with_suffix(".tmp")
    content = {
        "scenario": name,
        "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "code": code_state(),
        "machine": machine(),
        "versions": {package: metadata.version(package) for package in OURS},
        **facts,
        "rows": list(rows),
    }
    draft.write_text(json.dumps(content, indent=1) + "\n")
    draft.replace(path)
    return path


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "memory_gb": round(memory_kb / 2**20),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def code_state() -> dict[str, Any]:
    """The commit, and whether files that are measured differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", "sheaf", "worker", "producer", "services", "benchmarks/*.py")
    return {"commit": commit or "unknown", "changed_files": len(changed.splitlines())}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
