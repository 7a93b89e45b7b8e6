"""A run of the tests has a folder of its own; what a killed one has left goes with the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.console import wait_until
from tests.run_folder import RunFolder, name_stack, old_stacks

ROOT = Path(__file__).parents[2]
#: A run that makes a file, starts three processes (two of them show no environment, as Redis and Valkey do not), says
#: so, and waits to be killed.
RUN = """
import shutil, subprocess, sys, tempfile
from tests.run_folder import RunFolder
folder = RunFolder()
started = [subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL)]
for name in ("redis-server", "valkey-server"):
    server = f"{tempfile.mkdtemp()}/{name}"
    shutil.copy(shutil.which("sleep"), server)
    started.append(subprocess.Popen([server, "1000"], stdout=subprocess.DEVNULL, env={}))
print(*(process.pid for process in started), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another system's temporary folder, as it were."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def start_run() -> tuple[subprocess.Popen[str], list[int]]:
    """A run of its own, and the processes that it has started."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    return run, [int(pid) for pid in run.stdout.readline().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_killed_run_has_left_goes_with_the_next_and_a_living_one_keeps_its_own(temporary: Path) -> None:
    """Its folder and the processes that it had started; nothing of a run that goes on beside it."""
    killed, orphans = start_run()
    living, children = start_run()
    (kept,) = {path.name for path in temporary.iterdir() if f"{path}" in environment(children[0])}
    killed.kill()
    killed.communicate()
    assert len(list(temporary.iterdir())) == 2

    folder = RunFolder()
    folder.sweep()

    wait_until(lambda: not any(map(is_alive, orphans)), 30, "the killed run's processes end")
    assert {path.name for path in temporary.iterdir()} == {kept, folder.path.name}
    assert all(map(is_alive, children))
    folder.close()
    assert [path.name for path in temporary.iterdir()] == [kept]
    for child in children:
        os.kill(child, signal.SIGKILL)
    living.kill()
    living.communicate()


def environment(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def test_what_is_started_makes_its_temporary_files_in_the_runs_folder(temporary: Path) -> None:
    """Here and in processes; afterwards it is as it was before."""
    folder = RunFolder()
    code = "import tempfile; print(tempfile.gettempdir())"

    assert tempfile.gettempdir() == str(folder.path)
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == str(folder.path)
    assert (folder.path / f"{name_stack()}.stack").exists()

    folder.close()
    assert tempfile.gettempdir() == str(temporary)
    assert list(temporary.iterdir()) == []


def test_stacks_of_unknown_runs_are_old_three_hours_after_their_newest_container() -> None:
    """A stack in use has a younger one; other projects do not matter."""
    listed = [
        "sheaf-test-old 2026-01-01 08:00:00 +0000 UTC",
        "sheaf-test-used 2026-01-01 08:00:00 +0000 UTC",
        "sheaf-test-used 2026-01-01 13:00:00 +0200 CEST",
        "sheaf-test-listed-first 2026-01-01 13:00:00 +0200 CEST",
        "sheaf-test-listed-first 2026-01-01 08:00:00 +0000 UTC",
        "sheaf 2025-01-01 08:00:00 +0000 UTC",
        " 2025-01-01 08:00:00 +0000 UTC",
    ]

    assert old_stacks(listed, datetime(2026, 1, 1, 12, tzinfo=UTC)) == {"sheaf-test-old"}
