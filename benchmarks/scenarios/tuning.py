"""What Sheaf chooses by itself, beside the same work with settings chosen by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common.cluster import Cluster
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.common.site import serve
from benchmarks.scenarios.load import warm_up
from benchmarks.scenarios.map import TASKS

TITLE = "Its own choice of settings, beside settings chosen by hand"
ABOUT = """The same work with what Sheaf chooses by itself, and with one setting fixed at a time. `load` is {pages:,}
pages to .warc.gz, `map` is `square(n)` for {numbers:,} integers; one worker with a pool of two."""
COLUMNS = (Column("per_s", "items/s, to the last commit", "{:,.0f}"), Column("commits", "commits", "{:,.0f}"))
OWN = "its own choice"
LOADS = (
    *(f"--connections {number}" for number in (16, 32, 64, 128)),
    *(f"--batch-size {number}" for number in (50, 500)),
)
MAPS = tuple(f"--batch-size {number}" for number in (500, 2000, 10_000, 50_000))


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    pages, numbers = stage.items(24_000, 400), stage.items(2_000_000, 20_000)
    stage.facts.update(pages=pages, numbers=numbers)
    settings = {"SHEAF_POOL_SIZE": "2", "SHEAF_TASKS_DIR": str(TASKS)}
    with serve(stage.work / "site") as site, Cluster(stage.work / "data", settings) as cluster:
        urls = site.write_urls(stage.work / "urls.txt", pages)
        warm_up(urls, stage.work)
        load = ["load", str(urls), "--allow-net", "127.0.0.0/8"]
        square = ["map", "bench_tasks:square", f"range({numbers})"]
        yield [
            *(contender(cluster, "load", load, options, pages, ".warc.gz") for options in (OWN, *LOADS)),
            *(contender(cluster, "map", square, options, numbers, ".jsonl") for options in (OWN, *MAPS)),
        ]


def name_of(kind: str, options: str) -> str:
    return f"{kind}, {options}"


def contender(cluster: Cluster, kind: str, command: list[str], options: str, count: int, suffix: str) -> Contender:
    chosen = [] if options == OWN else options.split()

    def turn(number: int) -> Measured:
        output = f"{kind}-{number}{''.join(chosen)}{suffix}"
        done = cluster.sheaf(*command, *chosen, "-o", output, "--again")
        found = cluster.commits(output, count)
        cluster.remove(output)
        return {"wall_s": done.wall_s, "per_s": count / found.run_s, "commits": found.commits}

    return Contender(name_of(kind, options), turn, "bare" if chosen else "sheaf", count)
