"""A disk that goes read-only under a running cluster: a real one, in a file, made to fail as ext4 fails."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.broker.queue import BatchQueue
from tests.console import wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")


@pytest.fixture
def disk(bench: Bench) -> Iterator[Path]:
    """An ext4 file system of its own, mounted as the bench's data folder."""
    image = bench.person.folder / "disk.img"
    with open(image, "wb") as target:
        target.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, bench.person.data], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no loop devices here: {mounted.stderr}")
    yield image
    for process in bench.workers:
        process.kill()
        process.communicate()
    bench.workers.clear()
    subprocess.run(["umount", "--lazy", bench.person.data], check=True)


def test_a_disk_that_fails_into_read_only_stops_the_run_and_loses_nothing(bench: Bench, disk: Path) -> None:
    """ext4's emergency in mid-run: every write and sync fails, SQLite's too. The problem is shown, no worker claims
    success; when the disk is back, what was acknowledged is there, and the run completes exactly once."""
    data = bench.person.data
    run = bench.submit(100)
    log = bench.person.folder / "log"
    worker = bench.worker(log=log)
    bench.wait_until_done(run, more_than=10)

    acknowledged = bench.done(run)

    subprocess.run(["mount", "-o", "remount,abort", data], check=True)
    with bench.server.client() as client:
        queue = BatchQueue(client)
        wait_until(lambda: queue.registry.problem(run.manifest.run) is not None, 60, "the problem is shown")
        problem = queue.registry.problem(run.manifest.run)
    assert problem is not None
    assert "cannot be written" in problem.text
    time.sleep(3)
    assert "Traceback" not in log.read_text(), log.read_text()
    assert worker.poll() is None
    assert "cannot be written" in bench.person.refused("verify", run.manifest.output, status=1)

    worker.kill()
    worker.wait()
    subprocess.run(["umount", data], check=True)
    # A copy: another process's mount namespace (a container's, say) may keep the failed one in the kernel's memory.
    subprocess.run(["cp", disk, f"{disk}.copy"], check=True)
    subprocess.run(["mount", "-o", "loop", f"{disk}.copy", data], check=True)
    assert bench.done(run) >= acknowledged > 10
    bench.worker(log=log)

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
