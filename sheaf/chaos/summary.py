"""The results of many trials, added up: counts by class of faults and by state of the code, and the longest times."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sheaf.chaos.plan import ERROR_WEIGHTS, WEIGHTS

#: Faults that kill one worker.
_KILLS = ("kill-worker", "kill-fence-holder", "kill-lock-holder")
#: What is counted of every run of the campaign.
_COUNTED = ("pages", "lost", "doubled", "torn", "stalled", "hung", "silent", "poisoned", "fetched_again")
#: What is kept of an earlier page, and what tells one entry from another.
_KEPT = {
    **{"states": ("code",), "sabotage": ("kind",), "tiny": ("at", "items"), "pauses": ("at",)},
    "long_tests": ("test",),
}
#: What a sabotage may be seen as.
_WRONG = ("lost", "doubled", "torn", "failed", "hung", "silent", "stalled")

Result = dict[str, Any]


def read_results(path: Path) -> list[Result]:
    """Every outcome that was ever noted in the file; a line cut short by a crash is passed over."""
    results = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            results.append(json.loads(line))
        except ValueError:
            continue
    return results


def of_kind(results: Iterable[Result], kind: str) -> list[Result]:
    """The outcomes of one kind; those of seeds have none."""
    return [result for result in results if result.get("kind", "seed") == kind]


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """Add up; runs with a sabotaged worker, and those with other leases, are counted apart."""
    seeds = of_kind(results, "seed")
    plain = [result for result in seeds if not result["sabotage"]]
    quick = [result for result in plain if result["leases"] == "quick"]
    product = [result for result in plain if result["leases"] == "product"]
    return {
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        **_count(plain),
        "not_ok": [result["seed"] for result in plain if not result["ok"]],
        "workers_that_ended_by_themselves": sum(len(result["unexpected_exits"]) for result in plain),
        "states": [_state(plain, code) for code in dict.fromkeys(result["code"] for result in plain)],
        "tasks": dict(sorted(Counter(result.get("task", "load") for result in plain).items())),
        "formats": dict(sorted(Counter(result["suffix"] for result in plain).items())),
        "faults": {name: _fault(plain, name) for name in (*WEIGHTS, *ERROR_WEIGHTS)},
        "errors": _errors(of_kind(results, "error")),
        "quick_leases": _times(quick),
        "product_leases": _times(product),
        "returns": {"quick": _returns(quick), "product": _returns(product)},
        "sabotage": [_sabotage(seeds, kind) for kind in sorted({result["sabotage"] for result in seeds} - {""})],
        "tiny": [_tiny(result) for result in of_kind(results, "tiny")],
        "pauses": of_kind(results, "pause"),
        "long_tests": list({result["test"]: result for result in of_kind(results, "long-test")}.values()),
    }


def carry_over(summary: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Keep what an earlier page showed and these results do not hold: other states of the code, other kinds of runs."""
    for name, identity in _KEPT.items():
        own = [tuple(each[part] for part in identity) for each in summary[name]]
        kept = [each for each in earlier.get(name, ()) if tuple(each[part] for part in identity) not in own]
        summary[name] = [*kept, *summary[name]]


def _count(results: Sequence[Result]) -> dict[str, int]:
    totals = {name: sum(result.get(name, 0) for result in results) for name in _COUNTED}
    return {"runs": len(results), **totals, "given_up": sum(result["failed"] for result in results)}


def _state(results: Sequence[Result], code: str) -> dict[str, Any]:
    """What ran with one state of the source code."""
    own = [result for result in results if result["code"] == code]
    moments = sorted(filter(None, (result.get("at", "") for result in own)))
    return {
        "code": code,
        "from": moments[0] if moments else "",
        "to": moments[-1] if moments else "",
        **_count(own),
        "faults": sum(sum(result["faults"].values()) for result in own),
        "not_ok": [result["seed"] for result in own if not result["ok"]],
    }


def _fault(results: Sequence[Result], name: str) -> dict[str, int]:
    counts = [result["faults"].get(name, 0) for result in results]
    return {"injected": sum(counts), "runs": sum(count > 0 for count in counts)}


def _errors(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Of the newest state of the code: what was made to fail, one thing a run, by who was hit and by which means."""
    newest = max((result["at"] for result in results), default="")
    code = next((result["code"] for result in results if result["at"] == newest), "")
    own: dict[str, list[Result]] = {}
    for result in results:
        if result["code"] == code and result["struck"]:
            own.setdefault(f"{result['means']}, {result['group']}", []).append(result)
    return {name: _error(cases) for name, cases in sorted(own.items())}


def _error(cases: Sequence[Result]) -> dict[str, Any]:
    counts = {name: sum(case[name] for case in cases) for name in ("lost", "doubled", "torn", "hung", "silent")}
    return {
        "places": len({(case["who"], case["where"].partition(", after ")[0]) for case in cases}),
        "faults": len({(case["who"], case["where"], case["fault"], case["lasting"]) for case in cases}),
        "runs": len(cases),
        "struck": sum(case["struck"] for case in cases),
        "given_up": sum(case["failed"] for case in cases),
        **counts,
        "code": cases[0]["code"],
    }


def _times(results: Sequence[Result]) -> dict[str, Any]:
    reruns = [seconds for result in results for seconds in result["reruns_s"]]
    kills = sum(result["faults"].get(name, 0) for result in results for name in _KILLS)
    return {
        "runs": len(results),
        "kills": kills,
        "reruns_seen": len(reruns),
        "longest_rerun_s": max(reruns, default=None),
        "longest_stall_s": max((result["stall_s"] for result in results), default=None),
    }


def _returns(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Fault -> how often Redis was seen to be back from it, and the longest time until a batch was claimed."""
    seen: dict[str, list[float]] = {}
    for result in results:
        for fault, seconds in result.get("returns_s", ()):
            seen.setdefault(fault, []).append(seconds)
    return {fault: {"seen": len(times), "longest_s": max(times)} for fault, times in sorted(seen.items())}


def _sabotage(results: Sequence[Result], kind: str) -> dict[str, Any]:
    """Each search ends with its first find, so there are as many searches as finds, but for one that found nothing."""
    own = [result for result in results if result["sabotage"] == kind]
    found = [result for result in own if result["found_after_s"] is not None]
    seen_as = {name for result in found for name in _WRONG if result.get(name)}
    return {
        "kind": kind,
        "runs": len(own),
        "searches": len({result["campaign"] for result in own}),
        "found": len(found),
        "longest_search_s": max((result["found_after_s"] for result in found), default=None),
        "seen_as": sorted(seen_as),
        "seeds": [result["seed"] for result in found],
        "codes": list(dict.fromkeys(result["code"] for result in own)),
    }


def _tiny(result: Result) -> dict[str, Any]:
    reruns = result["reruns_s"]
    without = {name: value for name, value in result.items() if name not in ("reruns_s", "kind", "folder")}
    return {**without, "reruns_seen": len(reruns), "longest_rerun_s": max(reruns, default=None)}
