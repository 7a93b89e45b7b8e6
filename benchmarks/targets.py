"""What the project wants to reach, and how to read it off the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.scenarios.tuning import LOADS, MAPS, OWN

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the page's first table: a number of a row, or its ratio to another row of the same run."""

    what: str
    scenario: str
    row: str
    #: The number's name; several are added up.
    names: tuple[str, ...]
    limit: float
    form: str = "{:.0%}"
    #: The row to divide by, or several: the best of them. None: the number itself counts.
    base: str | tuple[str, ...] | None = None
    #: Whether less is better.
    at_most: bool = False

    @property
    def text(self) -> str:
        """The limit in words."""
        return f"{'≤' if self.at_most else '≥'} {self.form.format(self.limit)}"

    def measure(self, results: Results) -> float | None:
        """None: not measured, or the contender failed."""
        ours = self._number(results, self.row)
        if self.base is None or ours is None:
            return ours
        rows = (self.base,) if isinstance(self.base, str) else self.base
        theirs = [self._number(results, row) for row in rows]
        found = [value for value in theirs if value]
        return ours / max(found) if len(found) == len(rows) else None

    def met(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit

    def _number(self, results: Results, row: str) -> float | None:
        for found in results.get(self.scenario, {}).get("rows", []):
            if found["name"] == row and all(name in found["median"] for name in self.names):
                return float(sum(found["median"][name] for name in self.names))
        return None


MAP = "sheaf map, 2 workers x 1 process"
IMAP = "multiprocessing.Pool(2).imap(chunksize=1000) + one JSON dump"
CALL = "sheaf, cluster.submit(...).result(), 2 workers x 1 process"
HUGE = "100,000,000 items, stopped and resumed"
WARC = "bare CurlMulti + WARC.gz (isal 1) + fdatasync x2"
LINES = "bare CurlMulti + orjson lines x2"
RAW = "bare CurlMulti + raw concatenation x2"
SCRAPY = "Scrapy x2 to .jsonl"


def load(suffix: str, base: str) -> Target:
    what = f"load to {suffix}, of its bare pipeline"
    return Target(what, "load", f"sheaf load to {suffix}", ("run_per_s",), 0.8, base=base)


def beside_scrapy(suffix: str, times: float) -> Target:
    what = f"load to {suffix}, beside Scrapy x2"
    return Target(what, "load_peers", f"sheaf load to {suffix}", ("per_s",), times, "{:.1f}x", base=SCRAPY)


def four(what: str, scenario: str, one: str, kind: str) -> Target:
    row, base = f"{kind}, 4 {one}s x 2", f"{kind}, 1 {one} x 8"
    return Target(what, scenario, row, ("per_s",), 0.95, base=base)


def in_containers(what: str, row: str, name: str, limit: float, form: str, base: str | None = None) -> Target:
    return Target(
        f"in containers: {what}", "stack_work", row, (name,), limit, form, base=base, at_most=name.endswith("_ms")
    )


TARGETS = [
    load(".warc.gz", WARC),
    load(".jsonl", LINES),
    load(".html", RAW),
    beside_scrapy(".warc.gz", 6),
    beside_scrapy(".jsonl", 12),
    Target(
        "load, index beside the output", "load", "sheaf load to .warc.gz", ("index_share",), 0.01, "{:.2%}",
        at_most=True,
    ),
    Target("map of a tiny function, items/s", "map", MAP, ("per_s",), 400_000, "{:,.0f}"),
    Target("map, of imap(chunksize=1000) + one JSON dump", "map", MAP, ("per_s",), 0.5, base=IMAP),
    Target("map, beside Huey x2", "map_peers", MAP, ("per_s",), 180, "{:,.0f}x", base="Huey x2"),
    Target(
        "map, beside Ray's Pool.map", "map_peers", MAP, ("per_s",), 2, "{:.1f}x", base="Ray Pool.map x2, its own chunks"
    ),
    Target("map, index bytes an item", "map", MAP, ("index_bytes_per_item",), 2, "{:.2f}", at_most=True),
    Target(
        "a CPU-bound task of 10 ms, of the ideal", "tasks", "a function that uses a core for 10 ms",
        ("efficiency",), 0.97, "{:.1%}",
    ),
    Target(
        "an async sleep of 1 s, 200 in flight, of the ideal", "tasks", "an async function that sleeps for 1 s",
        ("efficiency",), 0.95, "{:.1%}",
    ),
    Target("a single call, p50", "submit_peers", CALL, ("p50_ms",), 10, "{:.1f} ms", at_most=True),
    Target("a single call, p99", "submit_peers", CALL, ("p99_ms",), 30, "{:.1f} ms", at_most=True),
    four("4 workers on one output, of one worker's load", "scaling", "worker", "load"),
    four("4 workers on one output, of one worker's map", "scaling", "worker", "map"),
    four("4 containers on one output, of one container's load", "stack", "container", "load"),
    four("4 containers on one output, of one container's map", "stack", "container", "map"),
    *(
        Target(
            f"4 {name}s, {kind}: waits for lock and fence", scenario, f"{kind}, 4 {name}s x 2",
            ("lock_share", "fence_share"), 0.03, "{:.2%}", at_most=True,
        )
        for scenario, name in (("scaling", "worker"), ("stack", "container"))
        for kind in ("load", "map")
    ),
    *(
        in_containers(f"load to {suffix}, of its bare pipeline", f"load to {suffix}", "per_s", 0.8, "{:.0%}", base)
        for suffix, base in ((".warc.gz", "bare, warc x2"), (".jsonl", "bare, jsonl x2"), (".html", "bare, raw x2"))
    ),
    in_containers("map of a tiny function, items/s", "map", "per_s", 400_000, "{:,.0f}"),
    in_containers("a CPU-bound task of 10 ms, of the ideal", "10 ms", "efficiency", 0.97, "{:.1%}"),
    in_containers("an async sleep of 1 s, of the ideal", "1 s asleep", "efficiency", 0.95, "{:.1%}"),
    in_containers("a single call, p50", "a single call", "p50_ms", 10, "{:.1f} ms"),
    in_containers("a single call, p99", "a single call", "p99_ms", 30, "{:.1f} ms"),
    *(
        Target(
            f"{kind}: its own choice, of the best by hand", "tuning", f"{kind}, {OWN}", ("per_s",), 0.9,
            base=tuple(f"{kind}, {options}" for options in by_hand),
        )
        for kind, by_hand in (("load", LOADS), ("map", MAPS))
    ),
    Target(
        "CPU of an item, 10,000,000 items beside 1,000,000", "scale", "10,000,000 items", ("cpu_us_per_item",), 1.1,
        "{:.2f}x", base="1,000,000 items", at_most=True,
    ),
    Target("start of a run of 100,000,000 items", "scale", HUGE, ("first_s",), 1, "{:.2f} s", at_most=True),
    Target("its resumption", "scale", HUGE, ("resume_s",), 10, "{:.2f} s", at_most=True),
]  # fmt: skip
