"""Sheaf's embedded cluster, as its users start it, and what its processes have used."""

from __future__ import annotations

import calendar
import json
import os
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.common.command import CommandFailed, Ran, cpu_seconds, rss_mb, run, tree

ROOT = Path(__file__).parents[2]
SHEAF = Path(sys.executable).with_name("sheaf")


@dataclass(frozen=True, slots=True)
class Commits:
    """What an output's index says about one run."""

    run: str
    items: int
    commits: int
    #: Seconds from the run's submission to its last commit: no start of an interpreter in it, all of the rest.
    run_s: float
    #: Seconds from the submission to the first commit.
    first_s: float
    #: Items per second between the first and the last commit; 0 with fewer than three commits.
    steady_per_s: float
    index_bytes: int
    output_bytes: int


class Cluster:
    """Redis and workers on a data folder of their own."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None, *, workers: int = 1) -> None:
        self.data = data
        self._workers = workers
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}
        self.environment = kept | {"SHEAF_DATA_DIR": str(data), **(settings or {})}

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        self.sheaf("up", "--workers", str(self._workers))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sheaf("down")

    def sheaf(self, *arguments: str | Path, longest_s: float = 300, watch_memory: bool = False) -> Ran:
        return run(
            [SHEAF, *arguments],
            environment=self.environment,
            cwd=self.data.parent,
            longest_s=longest_s,
            watch_memory=watch_memory,
        )

    def python(self, script: str, *arguments: str) -> Ran:
        """Run a program of the benchmarks' that uses Sheaf's interface for programs on this cluster."""
        return run([sys.executable, ROOT / script, *arguments], environment=self.environment, cwd=self.data.parent)

    def cpu_s(self) -> float:
        """CPU seconds of Redis, the workers and their pools so far."""
        return cpu_seconds(tree(self._state["supervisor"][0]))

    def cpu_parts(self) -> dict[str, float]:
        """The same, separately."""
        workers = self.pids("worker")
        children = [pid for worker in workers for pid in tree(worker)[1:]]
        parts = {"redis": self.pids("redis"), "worker": workers, "children": children}
        return {name: cpu_seconds(pids) for name, pids in parts.items()}

    def peak_rss_mb(self) -> dict[str, float]:
        """Peaks so far: Redis, the largest worker, the largest process of a pool."""
        redis = self.pids("redis")
        workers = self.pids("worker")
        children = [pid for worker in workers for pid in tree(worker)[1:]]
        return {
            name: max(map(rss_mb, pids), default=0.0)
            for name, pids in (("redis", redis), ("worker", workers), ("child", children))
        }

    def pids(self, prefix: str) -> list[int]:
        return [pid for name, (pid, _) in self._state["processes"].items() if name.startswith(prefix)]

    @property
    def redis_socket(self) -> Path:
        return Path(self._state["redis_url"].removeprefix("unix://"))

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.data / ".sheaf/cluster.json").read_text())
        return state

    def commits(self, output: str, expected: int) -> Commits:
        """Read what happened to the output's only run. Raises CommandFailed if it has another number of items."""
        index = index_of(self.data / output)
        with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
            run_id, name, items = connection.execute("SELECT id, run, done FROM runs").fetchone()
            rows = connection.execute(
                "SELECT at, items FROM commits WHERE run = ? ORDER BY at, id", (run_id,)
            ).fetchall()
            pages, page_bytes = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
            )
        if items != expected:
            raise CommandFailed(f"{output} holds {items:,} of {expected:,} items: not a result to compare with")
        last, later = rows[-1][0], sum(count for _, count in rows[1:])
        span_s = last - rows[0][0]
        return Commits(
            run=name,
            items=items,
            commits=len(rows),
            run_s=last - submitted_at(name),
            first_s=rows[0][0] - submitted_at(name),
            steady_per_s=later / span_s if len(rows) > 2 and span_s > 0 else 0.0,
            index_bytes=pages * page_bytes,
            output_bytes=(self.data / output).stat().st_size,
        )

    def remove(self, output: str) -> None:
        """Make room; the run is finished, so its output is not needed again."""
        for path in self.data.glob(f"{output}*"):
            path.unlink()


def index_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.index")


def submitted_at(run: str) -> float:
    """The moment of a run's submission, which its name begins with: date, time, 1/65536 s."""
    day, clock, rest = run.split("-")
    return calendar.timegm(time.strptime(f"{day}{clock}", "%Y%m%d%H%M%S")) + int(rest[:4], 16) / 0x10000
