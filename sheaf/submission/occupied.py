"""An output that holds something already: a new run is added to it, or takes its place, only if a person says so."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sheaf.core.errors import UsageError
from sheaf.core.files import exists
from sheaf.core.humanize import count_text, path_text
from sheaf.output.output import Output
from sheaf.output.replace import open_run

#: Runs of an output that are looked at for one that may be the same submission.
_LOOKED_AT = 100


class Onto(Enum):
    """What to do with an output that holds records of other runs."""

    #: Refuse, and say what it holds.
    ASK = "ask"
    #: Add the new run's records to it.
    APPEND = "append"
    #: Put it aside; the new run's records begin a new one.
    REPLACE = "replace"


def chosen(*, append: bool, replace: bool) -> Onto:
    """From what was typed. Raises UsageError for both at once."""
    if append and replace:
        raise UsageError("--append adds to the output and --replace starts it over; give one of them")
    return Onto.REPLACE if replace else Onto.APPEND if append else Onto.ASK


@dataclass(frozen=True, slots=True)
class Holding:
    """What an output holds, or is about to."""

    path: Path
    #: Records in the file.
    records: int
    #: Names of the runs that have records in it, or are still to write some; the newest last.
    runs: tuple[str, ...]

    def describe(self) -> str:
        """`data/a.jsonl already holds 300 records (run 2026…, and 1 other run)`."""
        others = f", and {count_text(len(self.runs) - 1, 'other run')}" if len(self.runs) > 1 else ""
        held = f"holds {count_text(self.records, 'record')}" if self.records else "is being written to"
        return f"{path_text(self.path)} already {held} (run {self.runs[-1]}{others})"


def holding(data_dir: Path, output: str, opened: Output | None = None) -> Holding | None:
    """What the output holds; None if there is none, or a new run would be the first in it. Raises OutputError.

    `opened`: the output, if it is open already; it stays open.
    """
    path = data_dir / output
    if not exists(path):
        return None
    with contextlib.ExitStack() as stack:
        if opened is None:
            opened = Output(path)
            stack.callback(opened.close)
        progress = opened.reader.runs()
    runs = [run for run, found in progress.items() if found.done or not (found.finished or _is_over(data_dir, run))]
    return Holding(path, sum(found.done for found in progress.values()), tuple(runs)) if runs else None


def check_free(held: Holding | None, onto: Onto) -> None:
    """Raise UsageError if the output holds something and the request does not say what to do with it."""
    if held is None or onto is not Onto.ASK:
        return
    name = held.path.name
    raise UsageError(
        f"{held.describe()}, and this is another run: its records would be added after those. Nothing was submitted. "
        f"Use --append to add them, --replace to start {name} over (the present one is kept in {name}.replaced-1/), or "
        "choose another file with -o"
    )


def may_be_known(data_dir: Path, held: Holding, task: str) -> bool:
    """Whether a run in the output may turn out to be the same submission, once the list has been read."""
    return len(held.runs) > _LOOKED_AT or any(
        run is not None and run.manifest.spec.task == task for run in (open_run(data_dir, name) for name in held.runs)
    )


def _is_over(data_dir: Path, name: str) -> bool:
    """Whether what is left of the run will never be done: it was cancelled, was never published, or is gone."""
    run = open_run(data_dir, name)
    return run is None or run.cancelled
