"""Tasks that wait for the cluster they run in: for calls of their own, for each other by a shared queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.output.output import Output
from sheaf.run.run import Run
from tests.console import wait_until
from tests.integration.bench import Bench

TASKS = """
from sheaf import Cluster

def double(number):
    return number * 2

def nested(text):
    depth = int(text)
    with Cluster() as cluster:
        if depth:
            return 1 + cluster.submit(nested, str(depth - 1)).result()
        return sum(cluster.map(double, range(3)))

def meet(text):
    what, name = text.split()
    with Cluster() as cluster:
        queue = cluster.queue(name)
        if what == "take":
            return queue.get()
        queue.put(name)
    return "put"
"""


@pytest.fixture
def nesting(bench: Bench) -> Bench:
    """A bench whose one worker has two processes."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    (tasks / "nesting.py").write_text(TASKS)
    bench.person.environment |= {"SHEAF_TASKS_DIR": str(tasks), "SHEAF_POOL_SIZE": "2"}
    bench.worker(log=bench.person.folder / "log")
    return bench


def values(bench: Bench, run: Run) -> list[str]:
    wait_until(lambda: Run.open(bench.person.data, run.manifest.run).finished, 200, "the run is finished")
    output = Output(Path(bench.person.data / run.manifest.output))
    try:
        assert not list(output.reader.failures(run.manifest.run))
        return [line.decode() for _, line in sorted(output.records.all(run.manifest.run))]
    finally:
        output.close()


def test_tasks_that_call_the_cluster_lend_their_places(nesting: Bench) -> None:
    """Four tasks that wait for calls of their own on two processes, one of them three calls deep: all are done."""
    run = nesting.call("nesting:nested", "0", "0", "2", "0", batch_size=2)

    found = values(nesting, run)

    assert [line.rstrip("}\n").rsplit(":", 1)[1] for line in found] == ["6", "6", "8", "6"]


def test_tasks_that_wait_for_each_other_by_a_queue_meet(nesting: Bench) -> None:
    """Five consumers first, their producers behind them, on two processes."""
    names = [f"q{number}" for number in range(5)]
    run = nesting.call("nesting:meet", *(f"take {name}" for name in names), *(f"put {name}" for name in names))

    found = values(nesting, run)

    assert all(f'"value":"{name}"' in line for name, line in zip(names, found, strict=False))
