"""The results of many trials as one page, and the same numbers as JSON beside it. Made by the tool only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sheaf.chaos.summary import Result, carry_over, read_results, summarize

__all__ = ["MEANINGS", "read_results", "summarize", "write_report"]

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
    "disk-error-once": "a write, sync, cut, lock, rename or opening of a file fails once in a worker",
    "disk-error": "all writes and syncs of the output, its index or everything fail for a while (EIO, ENOSPC, EROFS)",
    "disk-full": "nothing can be written for a while, logs included",
    "read-error": "files of the data and tasks folders cannot be read, looked at or mapped, once or for a while",
    "few-files": "no descriptors are left, once or for a while",
    "no-processes": "a process of a pool is killed, and none can be started for a while",
    "thread-raises": "a thread of a worker raises what is not expected there: also MemoryError, OSError, SystemExit",
    "redis-odd-value": "values and entries in Redis that no worker would write: not UTF-8, not numbers, of other types",
    "redis-odd-reply": "Redis answers with an error, another kind of value, nonsense or half a reply (1 to 20 times)",
    "redis-damaged": "kill -9 of Redis, and a bit of its log of commands is another one",
    "lease-clock": "all leases end a minute or an hour sooner or later, as when a clock jumps",
    "list-damaged": "a bit or the end of a run's manifest, list or offsets is changed, until it is reported",
    "cancel": "the run is cancelled in mid-run, and the same submitted again",
    "two-runs": "another run, of a function, comes into an output of its own",
    "output-damaged": "in the end a bit of the output is changed: `sheaf verify` has to notice",
    "poison": "one or two items kill or end their process or worker, close its files, hang, or raise",
}
#: What a table shows where nothing was measured.
_EMPTY = "| none was run |"


def write_report(results: Sequence[Result], path: Path) -> None:
    """Write the Markdown page, and the same numbers as JSON beside it."""
    summary = summarize(results)
    numbers = path.with_suffix(".json")
    if numbers.exists():
        carry_over(summary, json.loads(numbers.read_text(encoding="utf-8")))
    numbers.write_text(json.dumps(summary, indent=1) + "\n")
    template = (resources.files("sheaf.chaos") / "proof.template.md").read_text(encoding="utf-8")
    page = template.format(
        **summary,
        json_name=numbers.name,
        wrong=", ".join(map(str, summary["not_ok"])) or "none",
        format_counts=", ".join(f"{count:,} `{suffix}`" for suffix, count in summary["formats"].items()) or "none",
        task_counts=", ".join(f"{count:,} `sheaf {task}`" for task, count in summary["tasks"].items()) or "none",
        ended_by_themselves=summary["workers_that_ended_by_themselves"],
        error_rows=_rows(_error_row(*row) for row in summary["errors"].items()),
        state_rows=_rows(_state_row(state) for state in summary["states"]),
        fault_rows=_rows(_fault_row(name, counts) for name, counts in summary["faults"].items()),
        time_rows=_rows(_time_row(*row) for row in _by_leases(summary, "{}_leases")),
        return_rows=_rows(_return_rows(summary["returns"])),
        tiny_rows=_rows(_tiny_row(each) for each in summary["tiny"]),
        pause_text="\n".join(_pause(each) for each in summary["pauses"]) or "None was run.",
        sabotage_rows=_rows(_sabotage_row(each) for each in summary["sabotage"]),
        long_test_rows=_rows(_long_test_row(each) for each in summary["long_tests"]),
    )
    path.write_text(page)


def _rows(rows: Iterable[str]) -> str:
    return "\n".join(rows) or _EMPTY


def _by_leases(summary: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    return [("short", summary[name.format("quick")]), ("default", summary[name.format("product")])]


def _row(*cells: object) -> str:
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def _state_row(state: dict[str, Any]) -> str:
    when = f"{state['from']} to {state['to']}" if state["from"] else ""
    wrong = ", ".join(map(str, state["not_ok"])) or "none"
    counts = [state[name] for name in ("runs", "faults", "pages", "lost", "doubled", "torn", "stalled")]
    return _row(f"`{state['code']}`", when, *counts, wrong)


def _fault_row(name: str, counts: dict[str, int]) -> str:
    return _row(f"`{name}`", MEANINGS[name], counts["injected"], counts["runs"])


def _error_row(means: str, counts: dict[str, Any]) -> str:
    wrong = [f"**{counts[name]}**" for name in ("lost", "doubled", "torn", "hung", "silent")]
    return _row(means, counts["places"], counts["faults"], counts["runs"], counts["struck"], counts["given_up"], *wrong)


def _time_row(title: str, times: dict[str, Any]) -> str:
    longest = [_seconds(times["longest_rerun_s"]), _seconds(times["longest_stall_s"])]
    return _row(title, times["runs"], times["kills"], times["reruns_seen"], *longest)


def _return_rows(returns: dict[str, dict[str, Any]]) -> Iterable[str]:
    for title, found in (("short", returns["quick"]), ("default", returns["product"])):
        for fault, times in found.items():
            yield _row(title, f"`{fault}`", times["seen"], _seconds(times["longest_s"]))


def _tiny_row(each: dict[str, Any]) -> str:
    leases = "short" if each["leases"] == "quick" else "default"
    given = [each["items"], each["workers"], leases, f"{each['kill_every_s']:g} s"]
    came = [each["kills"], _seconds(each["seconds"]), "yes" if each["finished"] else "**no**"]
    wrong = [f"**{each[name]}**" for name in ("lost", "doubled", "torn")]
    reruns = [each["reruns_seen"], _seconds(each["longest_rerun_s"])]
    return _row(each["at"], f"`{each['code']}`", *given, *came, *wrong, *reruns)


def _pause(each: dict[str, Any]) -> str:
    """One paused container: what went through before, meanwhile and afterwards, and who was said to be in the way."""
    rows = [
        f"| {part['name']} | {part['seconds']:.1f} s | {part['pages']:,} | {part['pages_per_s']:,.0f} "
        f"| {part['bytes'] / 1e6:,.1f} MB |"
        for part in each["parts"]
    ]
    said = [f"    {said['where']}: {said['text']}" for said in each["said"]]
    return "\n".join(
        [
            f"{each['at']} UTC, code `{each['code']}`: {each['workers']} containers, {each['pages']:,} pages into "
            f"`{each['output']}`; `docker pause` for {each['pause_s']:.0f} s of `{each['paused']}` while it "
            "held the fence.",
            "",
            "| | time | pages committed | pages/s | output |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Longest wait for the lock in Redis: {_seconds(each['lock_wait_s'])}; for the fence, as the logs tell it: "
            f"{_seconds(each['fence_wait_s'])}; first commit after the end of the pause: "
            f"{_seconds(each['resumed_after_s'])}. In the end: {each['lost']} lost, {each['doubled']} doubled, "
            f"{each['torn']} torn. Who is in the way, in the words of Sheaf:",
            "",
            *said,
            "",
        ]
    )


def _sabotage_row(each: dict[str, Any]) -> str:
    codes = ", ".join(f"`{code}`" for code in each["codes"])
    searches = [each["searches"], each["found"], _seconds(each["longest_search_s"])]
    return _row(f"`{each['kind']}`", *searches, ", ".join(each["seen_as"]), codes)


def _long_test_row(each: dict[str, Any]) -> str:
    counts = ", ".join(f"{value:,} {name}" for name, value in each["counts"].items())
    return _row(
        f"`{each['test']}`", each["at"], f"`{each['code']}`", counts, _seconds(each["seconds"]), each["problems"]
    )


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:,.1f} s"
