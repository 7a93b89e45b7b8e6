"""Let contenders take turns, and keep every repeat: what the machine does in between hits all of them alike."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common.command import CommandFailed


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a scenario plays."""

    #: A folder for everything that it writes, on the disk that is measured.
    work: Path
    #: Small numbers of items: to see that it runs, not to quote.
    quick: bool
    #: Runs that take many minutes as well.
    huge: bool
    #: What the result's file should say besides (which web server it was, say).
    facts: dict[str, Any]

    def items(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a scenario's table."""

    name: str
    title: str
    form: str


#: Numbers that one turn measured, by name.
Measured = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a scenario's work."""

    name: str
    #: Does the work once, given the number of the turn. `wall_s` must be among what it returns; it checks its result.
    turn: Callable[[int], Measured]
    #: `sheaf`, `bare` (the work alone: no queue, no lock, no safety) or `peer`.
    kind: str
    #: How many items one turn does.
    items: int
    #: Its settings, the best found, for people.
    note: str = ""
    #: It takes part in at most this many turns: for what is slow, or must run once.
    turns: int = 99


@dataclass(slots=True)
class Row:
    contender: Contender
    repeats: list[dict[str, float]] = field(default_factory=list)
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        names = list(self.repeats[0]) if self.repeats else []
        return {
            "name": self.contender.name,
            "kind": self.contender.kind,
            "items": self.contender.items,
            "note": self.contender.note,
            "error": self.error,
            "median": {name: rounded(statistics.median(each[name] for each in self.repeats)) for name in names},
            "repeats": [{name: rounded(value) for name, value in each.items()} for each in self.repeats],
        }


def take_turns(contenders: Sequence[Contender], repeats: int) -> list[dict[str, Any]]:
    """Run every contender `repeats` times, in turns. One that fails is out, with the reason; the others go on."""
    rows = [Row(contender) for contender in contenders]
    for turn in range(repeats):
        for row in _in_turn(rows, turn):
            # What the last one left in the page cache is not the next one's to write.
            os.sync()
            try:
                row.repeats.append(dict(row.contender.turn(turn)))
            except CommandFailed as error:
                row.error = str(error)
            except Exception as error:  # noqa: BLE001  one contender's trouble must not cost the others' results
                row.error = f"{type(error).__name__}: {error}"
            _tell(row)
    return [row.as_json() for row in rows]


def _in_turn(rows: Sequence[Row], turn: int) -> Iterator[Row]:
    """Every second turn goes backwards, so that none always follows the same neighbour."""
    order = rows if turn % 2 == 0 else rows[::-1]
    return (row for row in order if not row.error and turn < row.contender.turns)


def _tell(row: Row) -> None:
    if row.error:
        said = f"FAILED: {row.error}"
    else:
        last = row.repeats[-1]
        said = "  ".join(f"{name}={value:,.4g}" for name, value in list(last.items())[:5])
    print(f"{time.strftime('%H:%M:%S')}  {row.contender.name}: {said}", file=sys.stderr, flush=True)


def rounded(value: float) -> float:
    """Six significant digits are more than any of this is worth."""
    return float(f"{value:.6g}")
