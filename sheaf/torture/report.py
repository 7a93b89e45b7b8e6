"""The results of many trials as one table: counts by class of faults, and the longest times. Made by the tool only."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sheaf.torture.plan import WEIGHTS

#: What each class of faults does, for the table.
MEANINGS = {
    "kill-child": "kill -9 of a process of a pool",
    "kill-worker": "kill -9 of a worker",
    "kill-fence-holder": "kill -9 of the worker that is in the middle of a commit",
    "kill-lock-holder": "kill -9 of the holder of the output's lock in Redis: before, in or just after a commit",
    "kill-producer": "kill -9 of the producer in mid-submission",
    "kill-watcher": "kill -9 of the producer while it watches",
    "kill-everything": "kill -9 of all workers and Redis at once",
    "stop-worker": "SIGSTOP of a worker beyond its leases, then SIGCONT",
    "stop-lock-holder": "the same for the holder of the output's lock in Redis",
    "stop-fence-holder": "the same for the holder of the fence",
    "freeze-worker": "the same for a worker with its whole pool, as `docker pause`",
    "term-worker": "SIGTERM of a worker",
    "redis-restart": "kill -9 of Redis, started again at once",
    "redis-outage": "kill -9 of Redis, started again later",
    "redis-lost-second": "kill -9 of Redis, and the end of its log is lost",
    "redis-empty": "kill -9 of Redis, started again with nothing",
    "redis-flush": "FLUSHALL",
    "redis-stop": "SIGSTOP of Redis, then SIGCONT",
    "queue-doubled": "every batch that is queued or running is queued once more, by hand",
    "queue-removed": "most of the queue is removed, by hand",
    "lease-removed": "all leases are removed, by hand",
    "submit-twice": "the same run is submitted again in mid-run",
}
#: Faults that kill one worker.
_KILLS = ("kill-worker", "kill-fence-holder", "kill-lock-holder")


def read_results(path: Path) -> list[dict[str, Any]]:
    """Every outcome that was ever noted in the file; a line cut short by a crash is passed over."""
    results = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            results.append(json.loads(line))
        except ValueError:
            continue
    return results


def summarize(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up; runs with a sabotaged worker, and those with other leases, are counted apart."""
    plain = [result for result in results if not result["sabotage"]]
    quick = [result for result in plain if result["leases"] == "quick"]
    product = [result for result in plain if result["leases"] == "product"]
    return {
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "code": sorted({result["code"] for result in plain}),
        "runs": len(plain),
        "pages": sum(result["pages"] for result in plain),
        "lost": sum(result["lost"] for result in plain),
        "doubled": sum(result["doubled"] for result in plain),
        "torn": sum(result["torn"] for result in plain),
        "given_up": sum(result["failed"] for result in plain),
        "stalled": sum(result["stalled"] for result in plain),
        "not_ok": [result["seed"] for result in plain if not result["ok"]],
        "workers_that_ended_by_themselves": sum(len(result["unexpected_exits"]) for result in plain),
        "fetched_again": sum(result["fetched_again"] for result in plain),
        "formats": dict(sorted(Counter(result["suffix"] for result in plain).items())),
        "faults": {name: _fault(plain, name) for name in WEIGHTS},
        "quick_leases": _times(quick),
        "product_leases": _times(product),
        "sabotage": [_sabotage(results, kind) for kind in sorted({result["sabotage"] for result in results} - {""})],
    }


def _fault(results: Sequence[dict[str, Any]], name: str) -> dict[str, int]:
    counts = [result["faults"].get(name, 0) for result in results]
    return {"injected": sum(counts), "runs": sum(count > 0 for count in counts)}


def _times(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    reruns = [seconds for result in results for seconds in result["reruns_s"]]
    kills = sum(result["faults"].get(name, 0) for result in results for name in _KILLS)
    return {
        "runs": len(results),
        "kills": kills,
        "reruns_seen": len(reruns),
        "longest_rerun_s": max(reruns, default=None),
        "longest_stall_s": max((result["stall_s"] for result in results), default=None),
    }


def _sabotage(results: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Each search ends with its first find, so there are as many searches as finds, but for one that found nothing."""
    own = [result for result in results if result["sabotage"] == kind]
    found = [result for result in own if result["found_after_s"] is not None]
    seen_as = {name for result in found for name in ("lost", "doubled", "torn", "stalled") if result[name]}
    return {
        "kind": kind,
        "runs": len(own),
        "searches": len({result["campaign"] for result in own}),
        "found": len(found),
        "longest_search_s": max((result["found_after_s"] for result in found), default=None),
        "seen_as": sorted(seen_as),
        "seeds": [result["seed"] for result in found],
    }


def write_report(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the Markdown page, and the same numbers as JSON beside it."""
    summary = summarize(results)
    numbers = path.with_suffix(".json")
    numbers.write_text(json.dumps(summary, indent=1) + "\n")
    template = (resources.files("sheaf.torture") / "proof.template.md").read_text()
    page = template.format(
        **{**summary, "code": ", ".join(f"`{name}`" for name in summary["code"]) or "none"},
        json_name=numbers.name,
        wrong=", ".join(map(str, summary["not_ok"])) or "none",
        format_counts=", ".join(f"{count:,} `{suffix}`" for suffix, count in summary["formats"].items()) or "none",
        ended_by_themselves=summary["workers_that_ended_by_themselves"],
        fault_rows="\n".join(_fault_row(name, counts) for name, counts in summary["faults"].items()),
        time_rows="\n".join(
            [_time_row("short", summary["quick_leases"]), _time_row("default", summary["product_leases"])]
        ),
        sabotage_rows="\n".join(_sabotage_row(each) for each in summary["sabotage"]),
    )
    path.write_text(page)


def _fault_row(name: str, counts: dict[str, int]) -> str:
    return f"| `{name}` | {MEANINGS[name]} | {counts['injected']:,} | {counts['runs']:,} |"


def _time_row(title: str, times: dict[str, Any]) -> str:
    return (
        f"| {title} | {times['runs']:,} | {times['kills']:,} | {times['reruns_seen']:,} "
        f"| {_seconds(times['longest_rerun_s'])} | {_seconds(times['longest_stall_s'])} |"
    )


def _sabotage_row(each: dict[str, Any]) -> str:
    return (
        f"| `{each['kind']}` | {each['searches']} | {each['found']} | {_seconds(each['longest_search_s'])} "
        f"| {', '.join(each['seen_as'])} |"
    )


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.1f} s"
