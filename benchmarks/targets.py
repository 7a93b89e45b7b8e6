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
]  # fmt: skip
