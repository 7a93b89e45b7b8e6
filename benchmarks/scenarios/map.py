"""A tiny function over a million integers: `sheaf map` beside the standard library's pools."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.common.cluster import Cluster, submitted_at
from benchmarks.common.command import CommandFailed
from benchmarks.common.peers import Peer, many
from benchmarks.common.record import ROOT
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.scenarios.load import cpu_shares

TITLE = "A tiny function over a million integers"
ABOUT = """`square(n)` for {items:,} integers. Sheaf: `sheaf map bench_tasks:square 'range({items})' -o squares.jsonl`,
batch size chosen by Sheaf; each result is a line with its index, on disk, indexed, exactly once. The file in order
is compared with the expected one byte by byte. The pools hold numbers in memory, gone with the process; `imap` then
writes one JSON file without syncing it. Counted from submission to the last result (Sheaf: to the end of the command),
without the start of an interpreter, which "whole command" includes. The last column is Sheaf's share of `imap`:
items/s / by CPU seconds."""
COLUMNS = (
    Column("per_s", "items/s", "{:,.0f}"),
    Column("whole_per_s", "items/s, whole command", "{:,.0f}"),
    Column("commit_per_s", "items/s, to the last commit", "{:,.0f}"),
    Column("cpu_ms_per_item", "CPU ms an item", "{:.5f}"),
    Column("children_us", "pool µs", "{:.2f}"),
    Column("worker_us", "worker µs", "{:.2f}"),
    Column("command_us", "command µs", "{:.2f}"),
    Column("index_bytes_per_item", "index bytes an item", "{:.2f}"),
)
POOLS = (
    Peer("multiprocessing.Pool(2).imap(chunksize=1000) + one JSON dump", "pools_peer.py", "imap", 1_000_000),
    Peer("multiprocessing.Pool(2).map", "pools_peer.py", "pool-map", 1_000_000),
    Peer("ProcessPoolExecutor(2).map, chunks of 1,000", "pools_peer.py", "executor", 1_000_000),
)
CALL = "sheaf, list(cluster.map(square, range(N))), 2 workers x 1 process"
#: Workers, and the processes of each one's pool.
SHAPES = ((1, 2), (2, 1))
TASKS = ROOT / "benchmarks/tasks"


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    count = stage.items(1_000_000, 50_000)
    stage.facts["items"] = count
    name = sheaf_name(*SHAPES[0])
    stage.facts["ratios"] = {sheaf_name(*shape): POOLS[0].name for shape in SHAPES}
    versions: dict[str, str] = {}
    with sheaf_clusters(stage) as sheaf:
        assert sheaf[0].name == name
        yield [*sheaf, *(many(peer, None, count, versions, kind="bare") for peer in POOLS)]


def sheaf_name(workers: int, pool: int) -> str:
    return f"sheaf map, {workers} worker{'s' * (workers > 1)} x {pool} process{'es' * (pool > 1)}"


@contextmanager
def sheaf_clusters(stage: Stage) -> Iterator[list[Contender]]:
    """A cluster of each shape, waiting for work, as a contender; and calls from a program."""
    count = stage.items(1_000_000, 50_000)
    with ExitStack() as stack:
        found = []
        for workers, pool in SHAPES:
            settings = {"SHEAF_POOL_SIZE": str(pool), "SHEAF_TASKS_DIR": str(TASKS)}
            cluster = stack.enter_context(Cluster(stage.work / f"data-{workers}", settings, workers=workers))
            found.append(sheaf_map(cluster, sheaf_name(workers, pool), count))
        found.append(sheaf_call(cluster, count))
        yield found


def sheaf_map(cluster: Cluster, name: str, count: int) -> Contender:
    def turn(number: int) -> Measured:
        output = f"squares-{number}.jsonl"
        cpu_s, parts = cluster.cpu_s(), cluster.cpu_parts()
        done = cluster.sheaf("map", "bench_tasks:square", f"range({count})", "-o", output, "--again")
        ended, cpu_s = time.time(), done.cpu_s + cluster.cpu_s() - cpu_s
        shares = cpu_shares(parts, cluster.cpu_parts(), done.cpu_s, count)
        found = cluster.commits(output, count)
        check_squares(cluster.data / output, count)
        cluster.remove(output)
        return {
            "wall_s": done.wall_s,
            "per_s": count / (ended - submitted_at(found.run)),
            "whole_per_s": count / done.wall_s,
            "commit_per_s": count / found.run_s,
            "cpu_ms_per_item": cpu_s * 1000 / count,
            "index_bytes_per_item": found.index_bytes / count,
            "commits": found.commits,
            **shares,
        }

    return Contender(name, turn, "sheaf", count)


def sheaf_call(cluster: Cluster, count: int) -> Contender:
    """`cluster.map` of the interface for programs: every result comes back to the caller, in order."""

    def turn(_: int) -> Measured:
        done = cluster.python("benchmarks/api_calls.py", "map", str(count))
        run_s = json.loads(done.stdout)["run_s"]
        return {"wall_s": done.wall_s, "per_s": count / run_s, "whole_per_s": count / done.wall_s}

    return Contender(CALL, turn, "sheaf", count)


def check_squares(path: Path, count: int) -> None:
    """The file, put in the items' order, is the expected one, byte by byte."""
    lines: list[bytes] = [b""] * count
    with open(path, "rb") as file:
        for line in file:
            index = int(line[len(b'{"index":') : line.index(b",")])
            if lines[index]:
                raise CommandFailed(f"item {index} is in {path.name} twice")
            lines[index] = line
    found = hashlib.sha256(b"".join(lines)).hexdigest()
    expected = hashlib.sha256()
    for first in range(0, count, 10_000):
        numbers = range(first, min(first + 10_000, count))
        expected.update(b"".join(b'{"index":%d,"item":"%d","value":%d}\n' % (n, n, n * n) for n in numbers))
    if found != expected.hexdigest():
        raise CommandFailed(f"{path.name} in order is not the expected file; it begins with {lines[0]!r}")
