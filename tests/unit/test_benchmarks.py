"""The benchmarks' own rules: fair turns, honest medians, and a page that hides nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.common.command import CommandFailed, run
from benchmarks.common.runner import Column, Contender, Measured, take_turns
from benchmarks.report import read_results, table
from benchmarks.targets import TARGETS


def contender(name: str, *rates: float, kind: str = "peer", turns: int = 99) -> Contender:
    """One that measures these rates, turn by turn, and fails when there are no more."""

    def turn(number: int) -> Measured:
        if number >= len(rates):
            raise CommandFailed("no more")
        return {"wall_s": 1 / rates[number], "per_s": rates[number]}

    return Contender(name, turn, kind, items=1, turns=turns)


def test_the_median_of_all_repeats_counts_and_each_is_kept() -> None:
    """One lucky or unlucky turn decides nothing, and a reader can see that it was there."""
    (row,) = take_turns([contender("a", 10, 1000, 20)], repeats=3)

    assert row["median"]["per_s"] == 20
    assert [each["per_s"] for each in row["repeats"]] == [10, 1000, 20]


def test_contenders_take_turns() -> None:
    """What the machine does in between hits all of them alike; every second turn goes backwards."""
    order: list[str] = []

    def named(name: str) -> Contender:
        return Contender(name, lambda turn: order.append(f"{name}{turn}") or {"wall_s": 1}, "peer", 1)  # type: ignore[func-returns-value]

    take_turns([named("a"), named("b")], repeats=3)

    assert order == ["a0", "b0", "b1", "a1", "a2", "b2"]


def test_one_that_fails_is_out_and_says_why() -> None:
    """The others go on, and its row stays in the table."""
    failed, well = take_turns([contender("a", 10), contender("b", 1, 2, 3)], repeats=3)

    assert failed["error"] == "no more"
    assert well["median"]["per_s"] == 2


def test_a_command_that_fails_is_no_result() -> None:
    """Its output is in the error, so that a person can see what went wrong."""
    with pytest.raises(CommandFailed, match="what went wrong"):
        run(["sh", "-c", "echo what went wrong; exit 3"])


def test_a_peer_that_is_faster_stays_in_the_table() -> None:
    """Rows come as they were measured, failed ones too."""
    rows = take_turns([contender("ours", 5, kind="sheaf"), contender("theirs", 50), contender("broken")], repeats=1)

    text = table((Column("per_s", "items/s", "{:,.0f}"),), {"rows": rows})

    assert text.splitlines()[2:] == ["| **ours** | 5 |", "| theirs | 50 |", "| broken | failed |"]


def test_each_target_is_found_in_the_results_of_its_scenario() -> None:
    """A row that was renamed would silently turn a target into `not measured`."""
    results = read_results()
    asked = [target for target in TARGETS if target.scenario in results]

    missing = [target.what for target in asked if target.measure(results) is None]

    assert asked
    assert missing == [what for what in missing if is_failed(results, what)]


def is_failed(results: dict[str, Any], what: str) -> bool:
    (target,) = [target for target in TARGETS if target.what == what]
    failed = {row["name"] for row in results[target.scenario]["rows"] if row["error"]}
    bases = (target.base,) if isinstance(target.base, str) else target.base or ()
    return bool(failed & {target.row, *bases})


def test_results_can_be_judged() -> None:
    """Each file says when, on what machine, of which code and with which versions it was measured."""
    for result in read_results().values():
        assert {"measured", "machine", "code", "versions", "repeats", "quick", "load_before"} <= set(result)
        assert json.loads(json.dumps(result)) == result
