"""1, 2, 4 and 8 workers on one output, with the same number of pool processes in all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.common.cluster import Cluster, submitted_at
from benchmarks.common.command import CommandFailed
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.common.site import serve
from benchmarks.scenarios.map import TASKS
from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.settings import Settings

TITLE = "Many workers on one output"
ABOUT = """The same work by 1 to 8 workers that append to one file, {processes} pool processes in all: the throughput of
all together, and the share of the workers' time in which one waited for the lock in Redis or for the fence (as the
workers count it). `load` is {pages:,} pages to .warc.gz, `map` is `square(n)` for {numbers:,} integers."""
COLUMNS = (
    Column("per_s", "items/s, in the run", "{:,.0f}"),
    Column("lock_share", "waits for the lock", "{:.2%}"),
    Column("fence_share", "waits for the fence", "{:.2%}"),
    Column("write_share", "writes commits", "{:.1%}"),
    Column("commits", "commits", "{:,.0f}"),
    Column("cpu_ms_per_item", "CPU ms an item", "{:.4f}"),
)
#: Processes of all pools together: twice the cores, so that eight workers have one each.
PROCESSES = 8
WORKERS = (1, 2, 4, 8)


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    pages, numbers = stage.items(48_000, 500), stage.items(10_000_000, 20_000)
    stage.facts.update(processes=PROCESSES, pages=pages, numbers=numbers)
    with serve(stage.work / "site") as site, ExitStack() as stack:
        urls = site.write_urls(stage.work / "urls.txt", pages)
        load = ["load", str(urls), "--allow-net", "127.0.0.0/8"]
        square = ["map", "bench_tasks:square", f"range({numbers})"]
        found = []
        for workers in WORKERS:
            settings = {"SHEAF_POOL_SIZE": str(PROCESSES // workers), "SHEAF_TASKS_DIR": str(TASKS)}
            cluster = stack.enter_context(Cluster(stage.work / f"data-{workers}", settings, workers=workers))
            found.append(contender(cluster, "load", workers, load, pages, ".warc.gz"))
            found.append(contender(cluster, "map", workers, square, numbers, ".jsonl"))
        yield sorted(found, key=lambda each: each.name.split(",")[0])


def name_of(kind: str, workers: int) -> str:
    return f"{kind}, {workers} worker{'s' * (workers > 1)} x {PROCESSES // workers}"


def contender(cluster: Cluster, kind: str, workers: int, command: list[str], count: int, suffix: str) -> Contender:
    def turn(number: int) -> Measured:
        output = f"{kind}-{number}{suffix}"
        before, cpu_s = waits(cluster, 0), cluster.cpu_s()
        done = cluster.sheaf(*command, "-o", output, "--again")
        ended = time.time()
        after = waits(cluster, int(before["items"]) + count)
        found = cluster.commits(output, count)
        cluster.remove(output)
        seconds = ended - submitted_at(found.run)
        shares = {
            f"{what}_share": (after[f"{what}_s"] - before[f"{what}_s"]) / (seconds * workers)
            for what in ("lock", "fence", "write")
        }
        return {
            "wall_s": done.wall_s,
            "per_s": count / seconds,
            **shares,
            "commits": found.commits,
            "cpu_ms_per_item": (done.cpu_s + cluster.cpu_s() - cpu_s) * 1000 / count,
        }

    return Contender(name_of(kind, workers), turn, "sheaf", count)


def waits(cluster: Cluster, items: int) -> dict[str, float]:
    """What the workers' entries say of their commits, all together, once they have counted this many items."""
    here = dataclasses.replace(Settings(), redis_url=f"unix://{cluster.redis_socket}")
    deadline = time.monotonic() + 30
    with connect(here) as connection:
        while True:
            entries = [entry.fields for entry in WorkerRegistry(connection).workers()]
            names = ("items", "lock_s", "fence_s", "write_s")
            total = {name: sum(float(entry[name]) for entry in entries) for name in names}
            if total["items"] >= items:
                return total
            if time.monotonic() > deadline:
                raise CommandFailed(f"the workers' entries show {total['items']:,.0f} of {items:,} items")
            time.sleep(0.1)
