"""The regression guard for speed: counted round trips, system calls and bytes of two small runs. Nothing is timed."""

from __future__ import annotations

import sqlite3
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import redis

from sheaf.broker import keys
from sheaf.broker.queue import BatchQueue
from sheaf.run.run import Run, list_runs
from sheaf.scheduling.reconciler import Reconciler
from tests.console import processes_of, wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.unmeasured

LIMITS = Path(__file__).with_name("costs.toml")
#: Nothing that happens every few seconds happens during a run of these tests, however slow the machine is.
CALM = {
    "SHEAF_HEARTBEAT_S": "300",
    "SHEAF_BATCH_LEASE_S": "600",
    "SHEAF_RECONCILE_S": "300",
    "SHEAF_COMMIT_S": "300",
    "SHEAF_POOL_SIZE": "1",
}
TASK = "def double(text):\n    return int(text) * 2\n"

Counts = dict[str, int]


class Meter:
    """Reads the counters of Redis and of a worker's processes."""

    def __init__(self, bench: Bench, worker: int, connection: redis.Redis) -> None:
        self._worker, self.connection = worker, connection
        self._children = [pid for pid in processes_of(bench.person.folder) if _parent(pid) == worker]
        assert self._children

    def read(self) -> Counts:
        stats = self.connection.info("stats")
        worker, children = _io(self._worker), [_io(pid) for pid in self._children]
        return {
            "redis commands": stats["total_commands_processed"],
            "redis round trips": stats["total_reads_processed"],
            "redis bytes": stats["total_net_input_bytes"] + stats["total_net_output_bytes"],
            "worker read calls": worker["syscr"],
            "worker write calls": worker["syscw"],
            "worker bytes read": worker["rchar"],
            "worker bytes written": worker["wchar"],
            "child read and write calls": sum(each["syscr"] + each["syscw"] for each in children),
            "child bytes read and written": sum(each["rchar"] + each["wchar"] for each in children),
        }


def _io(pid: int) -> Counts:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def measure(bench: Bench, meter: Meter, start: Callable[[], Run]) -> tuple[Run, Counts]:
    """Start a run; count what it takes until its last job is done. Our own questions to Redis are left out."""
    before = meter.read()
    run = start()
    asked = 0

    def done() -> bool:
        nonlocal asked
        if not run.finished:
            return False
        asked += 2
        return not meter.connection.llen(keys.RQ_QUEUE) and not meter.connection.zcard(keys.LEASES)

    wait_until(done, 90, "the run and its jobs are done")
    after = meter.read()
    bench.assert_exactly_once(run)
    counted = {name: after[name] - before[name] for name in after}
    for name in ("redis commands", "redis round trips"):
        counted[name] -= asked
    return run, counted


def shape(bench: Bench, run: Run) -> Counts:
    """How large a run was, and what it left on the disk."""
    output = bench.person.data / run.manifest.output
    with closing(sqlite3.connect(f"file:{output}.index?mode=ro", uri=True)) as connection:
        commits, size = connection.execute("SELECT count(*), sum(length) FROM commits WHERE run IS NOT NULL").fetchone()
        compact = bench.person.folder / "index.compact"
        connection.execute("VACUUM INTO ?", (str(compact),))
    return {
        "items": run.manifest.items,
        "batches": run.manifest.batches,
        "commits": commits,
        "output bytes": size,
        "index bytes": compact.stat().st_size,
    }


def check(kind: str, counted: Counts, shape: Counts) -> None:
    """Every count is within what a person allowed; every limit is counted."""
    limits = tomllib.loads(LIMITS.read_text())[kind]
    assert set(limits) == set(counted) | {"index bytes", "output bytes"}
    measured = counted | {name: shape[name] for name in ("index bytes", "output bytes")}
    allowed = {name: allowance(limit, shape) for name, limit in limits.items()}
    size = ", ".join(f"{shape[name]:,} {name}" for name in ("items", "batches", "commits"))
    for name, count in measured.items():
        print(f"{kind}: {name}: {count:,} of {allowed[name]:,} allowed ({size})")
    over = [
        f"{name}: {count:,}, allowed {allowed[name]:,}" for name, count in measured.items() if count > allowed[name]
    ]
    assert not over, (
        f"a run of {size} costs more than a person allowed:\n  " + "\n  ".join(over) + "\n"
        f"Find what made it dearer. If it is worth it, raise the limit in {LIMITS.name} and say why in the commit."
    )


def allowance(limit: Mapping[str, float], shape: Counts) -> int:
    parts = {"per_item": "items", "per_batch": "batches", "per_commit": "commits"}
    return round(limit.get("once", 0) + sum(limit.get(part, 0) * shape[name] for part, name in parts.items()))


@pytest.fixture
def calm(bench: Bench, tmp_path: Path) -> Iterator[Callable[[], Meter]]:
    """Start a worker in which nothing happens by the clock."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/costs.py").write_text(TASK)
    with bench.server.client() as connection:

        def start() -> Meter:
            worker = bench.worker(log=tmp_path / "log", SHEAF_TASKS_DIR=str(tmp_path / "tasks"), **CALM)
            wait_until(lambda: connection.zcard(keys.WORKERS), 60, "the worker shows its entry")
            return Meter(bench, worker.pid, connection)

        yield start


def test_a_tiny_function_costs_no_more_than_was_allowed(bench: Bench, calm: Callable[[], Meter]) -> None:
    """20,000 items of a function: round trips, system calls and bytes stay within costs.toml."""
    meter = calm()

    def start(items: int, batch_size: int, output: str) -> Run:
        run = bench.call("costs:double", *map(str, range(items)), batch_size=batch_size, output=output)
        queue = BatchQueue(meter.connection)
        reconciler = Reconciler(bench.person.data, queue, room=2000)
        assert reconciler.feed() == run.manifest.batches
        reconciler.close()
        queue.close()
        return run

    measure(bench, meter, lambda: start(50, 10, "warm.jsonl"))
    run, counted = measure(bench, meter, lambda: start(20_000, 500, "counted.jsonl"))

    check("map", counted, shape(bench, run))


def test_a_number_costs_no_more_than_was_allowed(bench: Bench, calm: Callable[[], Meter]) -> None:
    """20,000 numbers of a range, which no process writes down: calls and bytes stay within costs.toml."""
    meter = calm()

    def start(items: int, output: str) -> Run:
        numbers, options = f"range({items})", ("--detach", "--batch-size", str(items // 40))
        bench.person.run("map", "costs:double", numbers, "-o", output, *options)
        return Run.open(bench.person.data, list_runs(bench.person.data)[-1])

    measure(bench, meter, lambda: start(80, "warm.jsonl"))
    run, counted = measure(bench, meter, lambda: start(20_000, "counted.jsonl"))

    size = shape(bench, run)
    check("numbers", counted, size)
    # Once the queue is dry, which it may be while the producer is still at it; not whenever the pool is empty.
    assert size["commits"] <= 8


def test_a_page_costs_no_more_than_was_allowed(bench: Bench, calm: Callable[[], Meter]) -> None:
    """400 pages of 30 KB into a WARC.gz: round trips, system calls and bytes stay within costs.toml."""
    meter = calm()

    def start(pages: int, output: str) -> Run:
        urls = bench.person.list_file("urls.txt", *bench.site.pages(pages))
        bench.person.run("load", urls, "-o", output, "--detach", "--allow-net", "127.0.0.0/8", "--batch-size", "20")
        return Run.open(bench.person.data, list_runs(bench.person.data)[-1])

    measure(bench, meter, lambda: start(20, "warm.warc.gz"))
    run, counted = measure(bench, meter, lambda: start(400, "counted.warc.gz"))

    check("load", counted, shape(bench, run))
