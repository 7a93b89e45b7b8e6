"""One sentence says why a run does not move, from what the whole cluster shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheaf.broker.claims import Snapshot
from sheaf.broker.lock import LockStatus
from sheaf.broker.worker_registry import WorkerInfo
from sheaf.scheduling.stall import FIELD, AtHand, Facts, Kind, at_hand_text, explain_stall

FREE = LockStatus("", "", 7, 0.0, 0.0, 0)


def entry(label: str, *, silent_s: float = 0.0, state: str = "busy", **runs: AtHand) -> WorkerInfo:
    fields = {"label": label, "state": state, FIELD: at_hand_text(runs)}
    return WorkerInfo(f"{label}-1", fields, silent_s)


def at(begun: int = 0, item: int = 0, since_s: float = 0.0, limit_s: float = 0.0, done: bool = False) -> AtHand:
    return AtHand(begun, item, since_s, limit_s, done)


QUIET = Facts("r", 95.0, Snapshot(set(), {}), [entry("a")], FREE, "")
TAKEN = Snapshot({"other_1"}, {"r_3": ("a-1", 9000)})


@pytest.mark.parametrize(
    ("facts", "kind", "words"),
    [
        (
            replace(QUIET, entries=[entry("a", r=at(2, 17, 93, 3600)), entry("b", r=at(1, 4, 40, 3600))]),
            Kind.SLOW,
            "item 17 has been in progress at a for 1 min 33 s; it may take 1 h 0 min. 3 items in progress",
        ),
        (replace(QUIET, entries=[entry("a", r=at(1, 0, 93))]), Kind.SLOW, "it may take as long as it likes"),
        (replace(QUIET, entries=[entry("a", r=at(1, 5, 93, 30))]), Kind.OVERDUE, "although it may take 30 s only"),
        (
            replace(QUIET, entries=[entry("a", r=at(1, 5, 93, 30, True))], blocker="b (pid 7) has held the index"),
            Kind.UNCOMMITTED,
            "finished items wait at a, for b (pid 7) has held the index",
        ),
        (
            replace(QUIET, entries=[entry("a", r=at(done=True))], lock=LockStatus("b-1", "b", 7, 42.0, 3.0, 1)),
            Kind.UNCOMMITTED,
            "the output's lock is held by b for 42 s",
        ),
        (replace(QUIET, entries=[entry("a", r=at(done=True))]), Kind.UNCOMMITTED, "no process holds the output's lock"),
        (replace(QUIET, snapshot=TAKEN), Kind.TAKEN, "a took batches of it, but no item is in progress there"),
        (
            replace(QUIET, snapshot=TAKEN, entries=[entry("a", silent_s=50), entry("b")]),
            Kind.TAKEN,
            "are held by a-1, which is silent",
        ),
        (
            replace(QUIET, snapshot=Snapshot({"r_1", "r_2"}, {}), entries=[entry("a", s=at(1))]),
            Kind.BUSY,
            "its 2 batches wait while all workers are busy with other runs",
        ),
        (
            replace(QUIET, snapshot=Snapshot({"r_1", "odd"}, {}), entries=[entry("a"), entry("b", state="idle")]),
            Kind.QUEUED,
            "its 1 batch wait on the queue, and b takes none of them",
        ),
        (QUIET, Kind.NOWHERE, "neither queued nor claimed"),
        (
            replace(QUIET, snapshot=Snapshot({"s_2"}, {"s_1": ("a-1", 9000)})),
            Kind.NOWHERE,
            "neither queued nor claimed",  # what others' runs have there is not its own
        ),
    ],
)
def test_what_stands_in_a_runs_way_is_named(facts: Facts, kind: Kind, words: str) -> None:
    stall = explain_stall(facts)

    assert stall.kind is kind
    assert words in stall.text
    assert stall.text.startswith("nothing was committed for 1 min 30 s: ")


def test_slow_items_are_no_fault() -> None:
    """Whatever else waits: what is in progress within its time is named as such, and never as what is wrong."""
    slow = replace(QUIET, entries=[entry("a", r=at(1, 3, 500, 3600))], snapshot=TAKEN, blocker="another process")

    assert explain_stall(slow).kind is Kind.SLOW
    assert "which is not an error" in explain_stall(slow).text


@pytest.mark.parametrize(
    "odd", ["", "[]", "{", '{"r": 3}', '{"r": [1, 2]}', '{"r": [null, "x", {}, [], 1]}', '{"r": [2, "x", {}, [], 0]}']
)
def test_an_entry_of_another_version_or_of_nonsense_is_ignored(odd: str) -> None:
    explain_stall(replace(QUIET, entries=[WorkerInfo("a-1", {"label": "a", FIELD: odd}, 0.0)]))
