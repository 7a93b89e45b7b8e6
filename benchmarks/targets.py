"""What the project wants to reach, and how to read it off the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    #: The target in words, such as "≥ 80 %".
    text: str
    #: None: not measured.
    measure: Callable[[Results], float | None]
    met: Callable[[float], bool]
    form: str = "{:.0%}"


def number(results: Results, scenario: str, row: str, name: str) -> float | None:
    for found in results.get(scenario, {}).get("rows", []):
        if found["name"] == row:
            value: float | None = found["median"].get(name)
            return value
    return None


def ratio(scenario: str, row: str, base: str, name: str) -> Callable[[Results], float | None]:
    """One row's number divided by another's, from the same run."""

    def measure(results: Results) -> float | None:
        ours, theirs = number(results, scenario, row, name), number(results, scenario, base, name)
        return ours / theirs if ours is not None and theirs else None

    return measure


def value(scenario: str, row: str, name: str) -> Callable[[Results], float | None]:
    return lambda results: number(results, scenario, row, name)


def at_least(limit: float) -> Callable[[float], bool]:
    return lambda found: found >= limit


def at_most(limit: float) -> Callable[[float], bool]:
    return lambda found: found <= limit


def below(limit: float) -> Callable[[float], bool]:
    return lambda found: found < limit


def waits(row: str) -> Callable[[Results], float | None]:
    """The share of the workers' time that goes to the lock and the fence together."""

    def measure(results: Results) -> float | None:
        lock, fence = (number(results, "scaling", row, f"{name}_share") for name in ("lock", "fence"))
        return None if lock is None or fence is None else lock + fence

    return measure


MAP = "sheaf map, 1 worker x 2 processes"
IMAP = "multiprocessing.Pool(2).imap(chunksize=1000) + one JSON dump"
CALL = "sheaf, cluster.submit(...).result(), 2 workers x 1 process"
HUGE = "100,000,000 items, stopped and resumed"
WARC = "bare CurlMulti + WARC.gz (isal 1) + fdatasync x2"
LINES = "bare CurlMulti + orjson lines x2"
RAW = "bare CurlMulti + raw concatenation x2"

TARGETS = [
    Target(
        "load to .warc.gz, of its bare pipeline", "≥ 80 %",
        ratio("load", "sheaf load to .warc.gz", WARC, "run_per_s"), at_least(0.8),
    ),
    Target(
        "load to .jsonl, of its bare pipeline", "≥ 80 %",
        ratio("load", "sheaf load to .jsonl", LINES, "run_per_s"), at_least(0.8),
    ),
    Target(
        "load to .html, of its bare pipeline", "≥ 80 %",
        ratio("load", "sheaf load to .html", RAW, "run_per_s"), at_least(0.8),
    ),
    Target(
        "load to .warc.gz, beside Scrapy x2", "≥ 6x",
        ratio("load_peers", "sheaf load to .warc.gz", "Scrapy x2 to .jsonl", "per_s"), at_least(6), "{:.1f}x",
    ),
    Target(
        "load to .jsonl, beside Scrapy x2", "≥ 12x",
        ratio("load_peers", "sheaf load to .jsonl", "Scrapy x2 to .jsonl", "per_s"), at_least(12), "{:.1f}x",
    ),
    Target(
        "map of a tiny function, items/s", "≥ 400,000",
        value("map", MAP, "per_s"), at_least(400_000), "{:,.0f}",
    ),
    Target(
        "map, of imap(chunksize=1000) + one JSON dump", "≥ 50 %",
        ratio("map", MAP, IMAP, "per_s"), at_least(0.5),
    ),
    Target(
        "map, beside Huey x2", "≥ 180x",
        ratio("map_peers", MAP, "Huey x2", "per_s"), at_least(180), "{:,.0f}x",
    ),
    Target(
        "map, beside Ray's Pool.map with its own chunks", "≥ 2x",
        ratio("map_peers", MAP, "Ray Pool.map x2, its own chunks", "per_s"), at_least(2), "{:.2f}x",
    ),
    Target("map, index bytes an item", "≤ 2", value("map", MAP, "index_bytes_per_item"), at_most(2), "{:.2f}"),
    Target(
        "load, index of the output's size", "≤ 1 %",
        value("load", "sheaf load to .warc.gz", "index_share"), at_most(0.01), "{:.2%}",
    ),
    Target(
        "a CPU-bound task of 10 ms, of the ideal", "≥ 97 %",
        value("tasks", "a function that uses a core for 10 ms", "efficiency"), at_least(0.97), "{:.1%}",
    ),
    Target(
        "an async sleep of 1 s, 200 in flight, of the ideal", "≥ 95 %",
        value("tasks", "an async function that sleeps for 1 s", "efficiency"), at_least(0.95), "{:.1%}",
    ),
    Target("a single call, p50", "≤ 10 ms", value("submit_peers", CALL, "p50_ms"), at_most(10), "{:.1f} ms"),
    Target("a single call, p99", "≤ 30 ms", value("submit_peers", CALL, "p99_ms"), at_most(30), "{:.1f} ms"),
    Target(
        "4 workers on one output, of one worker's load", "≥ 95 %",
        ratio("scaling", "load, 4 workers x 2", "load, 1 worker x 8", "per_s"), at_least(0.95),
    ),
    Target(
        "4 workers on one output, of one worker's map", "≥ 95 %",
        ratio("scaling", "map, 4 workers x 2", "map, 1 worker x 8", "per_s"), at_least(0.95),
    ),
    Target(
        "4 containers on one output, of one container's load", "≥ 95 %",
        ratio("stack", "load, 4 containers x 2", "load, 1 container x 8", "per_s"), at_least(0.95),
    ),
    Target(
        "4 containers on one output, of one container's map", "≥ 95 %",
        ratio("stack", "map, 4 containers x 2", "map, 1 container x 8", "per_s"), at_least(0.95),
    ),
    Target("4 workers, load: waits for the lock", "< 3 %", waits("load, 4 workers x 2"), below(0.03), "{:.2%}"),
    Target("4 workers, map: waits for the lock", "< 3 %", waits("map, 4 workers x 2"), below(0.03), "{:.2%}"),
    Target(
        "CPU of an item, 10,000,000 items beside 1,000,000", "flat (≤ 1.1x)",
        ratio("scale", "10,000,000 items", "1,000,000 items", "cpu_us_per_item"), at_most(1.1), "{:.2f}x",
    ),
    Target("start of a run of 100,000,000 items", "≤ 1 s", value("scale", HUGE, "first_s"), at_most(1), "{:.2f} s"),
    Target("its resumption", "≤ 10 s", value("scale", HUGE, "resume_s"), at_most(10), "{:.2f} s"),
]  # fmt: skip
