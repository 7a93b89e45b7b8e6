"""From a thousand items to a hundred million: what one item costs, what grows, how long a start takes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.common.cluster import Cluster, index_of, submitted_at
from benchmarks.common.command import CommandFailed
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.scenarios.map import TASKS

TITLE = "From a thousand items to a hundred million"
ABOUT = """A function that does nothing, over `range(N)`, so that what is left is Sheaf's own cost; a fresh cluster of
one worker with a pool of two for each row. Memory is the peak of the largest process of its kind. "First commit" is
counted from the submission. A start and a resumption of {huge:,} items are measured on a run of that length that is
stopped by `sheaf down` once {part:,} items are done and goes on after `sheaf up`: from the return of `sheaf up` to the
next commit."""
COLUMNS = (
    Column("cpu_us_per_item", "CPU µs an item", "{:.2f}"),
    Column("per_s", "items/s", "{:,.0f}"),
    Column("first_s", "first commit, s", "{:.2f}"),
    Column("resume_s", "resumed after, s", "{:.2f}"),
    Column("producer_mb", "producer MB", "{:.0f}"),
    Column("worker_mb", "worker MB", "{:.0f}"),
    Column("child_mb", "child MB", "{:.0f}"),
    Column("redis_mb", "Redis MB", "{:.1f}"),
    Column("index_bytes_per_item", "index bytes an item", "{:.2f}"),
)
#: The length of the run whose start and resumption are measured, and how far it gets before.
HUGE, PART = 100_000_000, 2_000_000
SETTINGS = {"SHEAF_POOL_SIZE": "2", "SHEAF_TASKS_DIR": str(TASKS)}
TASK = "bench_tasks:nothing"


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    sizes = [1_000, 100_000] if stage.quick else [1_000, 100_000, 1_000_000, 10_000_000]
    sizes += [HUGE] if stage.huge else []
    part = stage.items(PART, 100_000)
    stage.facts.update(huge=HUGE, part=part)
    found = [whole_run(stage.work, size) for size in sizes]
    yield [*found, stopped_run(stage.work, HUGE, part)]


def whole_run(work: Path, count: int) -> Contender:
    def turn(number: int) -> Measured:
        with Cluster(work / f"data-{count}-{number}", SETTINGS) as cluster:
            cpu_s = cluster.cpu_s()
            done = cluster.sheaf(
                "map", TASK, f"range({count})", "-o", "nothing.jsonl", longest_s=1200, watch_memory=True
            )
            ended = time.time()
            found = cluster.commits("nothing.jsonl", count)
            measured = {
                "wall_s": done.wall_s,
                "cpu_us_per_item": (done.cpu_s + cluster.cpu_s() - cpu_s) * 1e6 / count,
                "per_s": count / (ended - submitted_at(found.run)),
                "first_s": found.first_s,
                "producer_mb": done.peak_rss_mb,
                **{f"{name}_mb": peak for name, peak in cluster.peak_rss_mb().items()},
                "index_bytes_per_item": found.index_bytes / count,
            }
            cluster.remove("nothing.jsonl")
            return measured

    return Contender(f"{count:,} items", turn, "sheaf", count, turns=1 if count > 1_000_000 else 99)


def stopped_run(work: Path, count: int, part: int) -> Contender:
    def turn(number: int) -> Measured:
        cluster = Cluster(work / f"data-stopped-{number}", SETTINGS)
        output = cluster.data / "nothing.jsonl"
        with cluster:
            done = cluster.sheaf("map", TASK, f"range({count})", "-o", output.name, "--detach", watch_memory=True)
            wait_for(output, part)
        stopped_at = settled(output)
        with cluster:
            start = time.perf_counter()
            wait_for(output, stopped_at + 1)
            resume_s = time.perf_counter() - start
            run, first = first_commit(output)
            cluster.sheaf("cancel", run)
            measured = {
                "wall_s": done.wall_s,
                "first_s": first - submitted_at(run),
                "resume_s": resume_s,
                "producer_mb": done.peak_rss_mb,
                **{f"{name}_mb": peak for name, peak in cluster.peak_rss_mb().items()},
            }
        cluster.remove(output.name)
        return measured

    return Contender(f"{count:,} items, stopped and resumed", turn, "sheaf", count, turns=1)


def settled(output: Path) -> int:
    with closing(sqlite3.connect(f"file:{index_of(output)}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT done + failed FROM runs").fetchone()[0])


def first_commit(output: Path) -> tuple[str, float]:
    with closing(sqlite3.connect(f"file:{index_of(output)}?mode=ro", uri=True)) as connection:
        query = "SELECT run, (SELECT min(at) FROM commits WHERE run = runs.id) FROM runs"
        run, first = connection.execute(query).fetchone()
        return run, first


def wait_for(output: Path, items: int) -> None:
    deadline = time.monotonic() + 120
    while settled(output) < items:
        if time.monotonic() > deadline:
            raise CommandFailed(f"{output.name} holds {settled(output):,} items after two minutes, not {items:,}")
        time.sleep(0.02)
