"""The work of the other scenarios, done by the container stack: pages, a tiny function, slow tasks, single calls."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common.command import CommandFailed
from benchmarks.common.peers import percentiles
from benchmarks.common.record import ROOT
from benchmarks.common.runner import Column, Contender, Measured, Stage
from benchmarks.scenarios.map import TASKS
from benchmarks.scenarios.stack import Shape
from benchmarks.scenarios.tasks import CONCURRENCY
from tests.compose.stack import Stack, docker, missing_engine

TITLE = "The same work, in containers"
ABOUT = """The stack of `docker-compose.yml` with one worker and a pool of two. `load` is {pages:,} pages of the
stack's own site; the bare pipelines are those above, in a container of the same image, on the same network and volume.
`map` is `square(n)` for {numbers:,} integers. From the submission to the last commit; a single call, one of {calls:,}
that are 5 ms apart, from its submission to its result."""
COLUMNS = (
    Column("per_s", "items/s, in the run", "{:,.0f}"),
    Column("efficiency", "of the ideal", "{:.1%}"),
    Column("p50_ms", "p50 ms", "{:.1f}"),
    Column("p99_ms", "p99 ms", "{:.1f}"),
)
PROCESSES = 2
#: What Sheaf writes, and the mode of benchmarks/bare/load_pages.py to put beside it.
LOADS = {".warc.gz": "warc", ".jsonl": "jsonl", ".html": "raw"}
FULL = "raw-full"
#: Runs in a producer container, too.
CALLS = ROOT / "benchmarks" / "api_calls.py"


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    reason = missing_engine()
    if reason:
        raise CommandFailed(f"the stack needs a Docker engine with compose: {reason}")
    pages, numbers, calls = stage.items(48_000, 400), stage.items(2_000_000, 20_000), stage.items(500, 30)
    spins, sleeps = stage.items(2_000, 200), stage.items(4_000, 400)
    stage.facts.update(pages=pages, numbers=numbers, calls=calls)
    stage.work.chmod(0o755)
    stack = Stack(stage.work)
    shutil.copy(TASKS / "bench_tasks.py", stage.work / "tasks")
    (stage.work / "urls.txt").write_text(stack.urls(pages))
    try:
        stack.start(1)
        work = Work(Shape(stack, 1, PROCESSES), stack)
        yield [
            *(work.bare(mode, pages) for mode in (*LOADS.values(), FULL)),
            *(work.load(suffix, pages) for suffix in LOADS),
            work.function("map", "square", numbers, None),
            work.function("10 ms", "spin_10_ms", spins, spins * 0.010 / PROCESSES),
            work.function(
                "1 s asleep", "sleep_1_s", sleeps, sleeps / (CONCURRENCY * PROCESSES), "--concurrency", str(CONCURRENCY)
            ),
            work.calls(calls),
        ]
    finally:
        stack.remove()


class Work:
    def __init__(self, shape: Shape, stack: Stack) -> None:
        self._shape, self._stack = shape, stack

    def load(self, suffix: str, pages: int) -> Contender:
        def turn(number: int) -> Measured:
            command = ["load", "urls.txt", "--allow-net", self._stack.site_net]
            return self._shape.measure(command, pages, f"pages-{number}{suffix}")

        return Contender(f"load to {suffix}", turn, "sheaf", pages)

    def function(self, name: str, function: str, count: int, ideal_s: float | None, *options: str) -> Contender:
        def turn(number: int) -> Measured:
            command = ["map", f"bench_tasks:{function}", f"range({count})", *options]
            measured = self._shape.measure(command, count, f"{function}-{number}.jsonl")
            return measured if ideal_s is None else {**measured, "efficiency": ideal_s / measured["run_s"]}

        return Contender(name, turn, "sheaf", count)

    def calls(self, count: int) -> Contender:
        def turn(_number: int) -> Measured:
            with self._stack.start_python(CALLS.read_text(), "singles", str(count)) as program:
                found, _ = program.communicate()
            return percentiles(json.loads(found)["times_ms"])

        return Contender("a single call", turn, "sheaf", count)

    def bare(self, mode: str, pages: int) -> Contender:
        """As a worker: its image, its user, its volume, its network to the site; none of its limits."""

        def turn(_: int) -> Measured:
            name = self._stack.name
            folders = [
                f"{name}_data:/data",
                f"{ROOT / 'benchmarks' / 'bare'}:/bare:ro",
                f"{self._stack.lists}:/lists:ro",
            ]
            options = ["--network", f"{name}_egress", *(part for folder in folders for part in ("--volume", folder))]
            command = ["python", "/bare/load_pages.py", "/lists/urls.txt", "/data/bare", mode, str(PROCESSES)]
            found = json.loads(docker("run", "--rm", *options, f"sheaf:{name}", *command))
            if found["pages"] != pages:
                raise CommandFailed(f"{found['pages']:,} of {pages:,} pages came: not a result to compare with")
            return {"run_s": found["run_s"], "per_s": pages / found["run_s"]}

        return Contender(f"bare, {mode} x2", turn, "bare", pages)
