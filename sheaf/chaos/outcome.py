"""What came of a trial, and the looks from outside that tell it: at the runs' folders, and into an index by SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Outcome:
    """What came of one trial; a line of the results' file."""

    seed: int
    ok: bool
    sabotage: str = ""
    task: str = "load"
    leases: str = ""
    suffix: str = ""
    #: Whether the plan was shortened.
    short: bool = False
    pages: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    #: Items that were given up though nothing was wrong with them: no fault is a reason to.
    failed: int = 0
    #: Items that can never succeed, and were given up with a reason, as they should be.
    poisoned: int = 0
    #: Workers that did not end when they were asked to: they only seemed to live.
    hung: int = 0
    #: Workers that ended without a word, runs that stalled without one, damage that `verify` did not find.
    silent: int = 0
    #: Whether the run was not finished when the time was over.
    stalled: bool = False
    #: How often each class of faults struck.
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stall_s: float = 0.0
    reruns_s: list[float] = field(default_factory=list)
    #: (fault, seconds): how soon a batch was claimed after Redis was back from it.
    returns_s: list[tuple[str, float]] = field(default_factory=list)
    #: Pages that were fetched more than once: the price of the faults.
    fetched_again: int = 0
    problems: list[str] = field(default_factory=list)
    unexpected_exits: list[str] = field(default_factory=list)
    folder: str = ""
    #: Seconds from the beginning of the campaign until the fault was found; with a sabotaged worker only.
    found_after_s: float | None = None
    #: Which call of the tool this was part of.
    campaign: str = ""
    #: Which state of the source code ran, and when it ended (UTC).
    code: str = ""
    at: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def runs_in(data: Path) -> list[Path]:
    return [path for path in (data / "runs").glob("*") if not path.name.startswith(".")]


def run_of(data: Path, output: str) -> Path | None:
    """The folder of the run that has this output; None if there is none, or its manifest cannot be read."""
    for path in runs_in(data):
        try:
            if json.loads((path / "run.json").read_text(encoding="utf-8"))["output"] == output:
                return path
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return None


def was_finished(data: Path) -> bool:
    """Whether there is a run, and every one is finished."""
    runs = runs_in(data)
    return bool(runs) and all((run / "finished").exists() for run in runs)


def failed_items(output: Path) -> dict[int, str]:
    """Item -> why it was given up, read with plain SQLite from the index. Raises sqlite3.Error."""
    path = output.with_name(f"{output.name}.index")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT item, error, message, attempts FROM failures").fetchall()
    return {item: f"item {item} failed after {attempts}: {error}: {message}" for item, error, message, attempts in rows}


def failures_of(output: Path) -> list[str]:
    """The same as lines, with what is wrong if it cannot be read."""
    try:
        return list(failed_items(output).values())
    except sqlite3.Error as error:
        return [f"the index cannot be read: {error}"]
