"""The container stack: one worker and four on one output, with the same number of pool processes in all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.common.cluster import submitted_at
from benchmarks.common.command import CommandFailed
from benchmarks.common.runner import Column, Contender, Measured, Stage
from tests.compose.stack import Stack, missing_engine

TITLE = "Many workers on one output, in containers"
ABOUT = """The stack of `docker-compose.yml`, scaled to one worker and to four; {processes} pool processes in all.
`load` is {pages:,} pages of the stack's own site to .warc.gz, `map` is `math:sqrt` for {numbers:,} integers. From the
submission to the last commit."""
COLUMNS = (
    Column("per_s", "items/s, in the run", "{:,.0f}"),
    Column("lock_share", "waits for the lock", "{:.2%}"),
    Column("fence_share", "waits for the fence", "{:.2%}"),
    Column("write_share", "writes commits", "{:.1%}"),
    Column("commits", "commits", "{:,.0f}"),
)
PROCESSES = 8
WORKERS = (1, 4)
#: Runs in a producer container: what the workers' entries and the output's index say.
LOOK = """
import json, sqlite3
from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.settings import Settings
with connect(Settings.from_env()) as connection:
    entries = [dict(entry.fields) for entry in WorkerRegistry(connection).workers()]
found = [None, 0, 0, 0]
if {output!r}:
    index = sqlite3.connect("file:/data/{output}.index?mode=ro", uri=True)
    found = index.execute("SELECT run, done, last_commit, (SELECT count(*) FROM commits) FROM runs").fetchone()
print(json.dumps([entries, found]))
"""


@contextmanager
def contenders(stage: Stage) -> Iterator[list[Contender]]:
    reason = missing_engine()
    if reason:
        raise CommandFailed(f"the stack needs a Docker engine with compose: {reason}")
    pages, numbers = stage.items(48_000, 400), stage.items(10_000_000, 20_000)
    stage.facts.update(processes=PROCESSES, pages=pages, numbers=numbers)
    stage.work.chmod(0o755)
    stack = Stack(stage.work)
    try:
        stack.start()
        (stage.work / "urls.txt").write_text(stack.urls(pages))
        load = ["load", "urls.txt", "--allow-net", stack.site_net]
        square = ["map", "math:sqrt", f"range({numbers})"]
        found = [Shape(stack, workers) for workers in WORKERS]
        yield [shape.contender("load", load, pages, ".warc.gz") for shape in found] + [
            shape.contender("map", square, numbers, ".jsonl") for shape in found
        ]
    finally:
        stack.remove()


class Shape:
    """The stack with this many workers, and this many pool processes in all."""

    def __init__(self, stack: Stack, workers: int, processes: int = PROCESSES) -> None:
        self._stack, self._workers, self._processes = stack, workers, processes

    def contender(self, kind: str, command: list[str], count: int, suffix: str) -> Contender:
        def turn(number: int) -> Measured:
            return self.measure(command, count, f"{kind}-{self._workers}-{number}{suffix}")

        return Contender(self._name(kind), turn, "sheaf", count)

    def measure(self, command: list[str], count: int, output: str) -> Measured:
        """Run a command of the producer's whose output is to hold this many items."""
        self._scale()
        before, _ = self._look("")
        self._stack.producer(*command, "-o", output, "--again")
        after, (run, done, last_commit, commits) = self._look(output, before["items"] + count)
        if done != count:
            raise CommandFailed(f"{output} holds {done:,} of {count:,} items: not a result to compare with")
        seconds = last_commit - submitted_at(run)
        shares = {
            f"{what}_share": (after[f"{what}_s"] - before[f"{what}_s"]) / (seconds * self._workers)
            for what in ("lock", "fence", "write")
        }
        return {"run_s": seconds, "per_s": count / seconds, **shares, "commits": commits}

    def _name(self, kind: str) -> str:
        return f"{kind}, {self._workers} container{'s' * (self._workers > 1)} x {self._processes // self._workers}"

    def _scale(self) -> None:
        self._stack.pool_size(self._processes // self._workers)
        self._stack.compose("--profile", "site", "up", "-d", "--wait", "--scale", f"worker={self._workers}")

    def _look(self, output: str, items: float = 0) -> tuple[dict[str, float], list[Any]]:
        """The sums of the workers' entries, once they have counted this many items; the run of the output."""
        for _ in range(20):
            entries, found = json.loads(self._stack.producer_python(LOOK.format(output=output)))
            names = ("items", "lock_s", "fence_s", "write_s")
            total = {name: sum(float(entry[name]) for entry in entries) for name in names}
            if total["items"] >= items and len(entries) == self._workers:
                return total, found
        raise CommandFailed(f"{len(entries)} entries show {total['items']:,.0f} of {items:,.0f} items")
