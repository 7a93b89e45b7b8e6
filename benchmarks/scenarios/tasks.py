"""Tasks that take their time: how much of the ideal is reached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common.cluster import Cluster, submitted_at
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.scenarios.map import TASKS

TITLE = "Tasks that take their time"
ABOUT = """The ideal is {cores} cores that do nothing but {spins:,} times 10 ms of work, or {sleeps:,} sleeps of 1 s of
which {in_flight} are always under way. One worker with a pool of two; from submission to the end of the command."""
COLUMNS = (
    Column("efficiency", "of the ideal", "{:.1%}"),
    Column("run_s", "seconds", "{:.2f}"),
    Column("ideal_s", "ideal", "{:.2f}"),
    Column("cpu_ms_per_item", "CPU ms an item", "{:.3f}"),
)
PROCESSES = 2
#: Sleeps under way in one process of the pool.
CONCURRENCY = 100
SPIN = "a function that uses a core for 10 ms"
SLEEP = "an async function that sleeps for 1 s"


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    spins, sleeps, in_flight = stage.items(2_000, 200), stage.items(4_000, 400), CONCURRENCY * PROCESSES
    stage.facts.update(spins=spins, sleeps=sleeps, in_flight=in_flight)
    settings = {"SHEAF_POOL_SIZE": str(PROCESSES), "SHEAF_TASKS_DIR": str(TASKS)}
    with Cluster(stage.work / "data", settings) as cluster:
        yield [
            contender(cluster, SPIN, "spin_10_ms", spins, spins * 0.010 / PROCESSES),
            contender(cluster, SLEEP, "sleep_1_s", sleeps, sleeps / in_flight, "--concurrency", str(CONCURRENCY)),
        ]


def contender(cluster: Cluster, name: str, function: str, count: int, ideal_s: float, *options: str) -> Contender:
    def turn(number: int) -> Measured:
        output = f"{function}-{number}.jsonl"
        cpu_s = cluster.cpu_s()
        done = cluster.sheaf("map", f"bench_tasks:{function}", f"range({count})", "-o", output, "--again", *options)
        run_s = time.time() - submitted_at(cluster.commits(output, count).run)
        return {
            "wall_s": done.wall_s,
            "run_s": run_s,
            "ideal_s": ideal_s,
            "efficiency": ideal_s / run_s,
            "cpu_ms_per_item": (done.cpu_s + cluster.cpu_s() - cpu_s) * 1000 / count,
        }

    return Contender(name, turn, "sheaf", count)
