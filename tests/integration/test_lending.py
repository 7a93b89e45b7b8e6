"""What waits behind a slow item is not kept from a worker that has nothing to do."""

from __future__ import annotations

import pytest

from tests.console import wait_until
from tests.integration.bench import Bench

#: An item is a path to wait for, or nothing but 10 ms of work.
TASK = """
import time
from pathlib import Path

def wait_for(path):
    time.sleep(0.01)
    if path:
        Path(path + ".begun").touch()
        while not Path(path).exists():
            time.sleep(0.01)
    return path
"""
QUICK_ITEMS = [""] * 60


@pytest.mark.parametrize("batch_size", [1, 4])
def test_another_worker_gets_what_waits_behind_a_slow_item(bench: Bench, batch_size: int) -> None:
    """The worker that was alone has taken some ahead; of them only the slow item's own batch stays with it."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    (tasks / "patient.py").write_text(TASK)
    bench.person.environment |= {"SHEAF_TASKS_DIR": str(tasks), "SHEAF_POOL_SIZE": "1"}
    slow = bench.person.folder / "slow"
    bench.worker()
    run = bench.call("patient:wait_for", *QUICK_ITEMS, str(slow), *QUICK_ITEMS, batch_size=batch_size)
    begun = slow.with_name("slow.begun")
    wait_until(begun.exists, 60, "the slow item has begun")

    bench.worker()
    bench.wait_until_done(run, more_than=run.manifest.items - batch_size - 1)

    slow.touch()
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
