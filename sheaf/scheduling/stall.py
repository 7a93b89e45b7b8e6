"""Why does a run not move? Decided in one place, and said in one sentence, from what the whole cluster shows.

finished, not committed ► who has the lock or the fence
in progress ────────────► slow items: named, and how long they may take; no fault
taken, not in progress ─► by whom
queued ─────────────────► no worker takes it, or all are busy with other runs
nowhere ────────────────► it was not put back
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sheaf.broker import replies
from sheaf.broker.claims import Snapshot
from sheaf.broker.lock import LockStatus
from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.errors import UsageError
from sheaf.core.humanize import count_text, seconds_text
from sheaf.run.items import parse_batch_id

#: How each sentence begins; a stored problem that begins like this may be replaced by a newer one.
LEAD = "nothing was committed for "
#: The field of a worker's entry that says what it has of which run, and how many runs it tells of.
FIELD, MOST_RUNS = "at", 50
#: Seconds beyond its limit after which an item should have been ended.
_LATE_S = 10.0
#: The time is rounded down to steps, so that the sentence stays the same for a while.
_STEP_S = 30


class Kind(enum.Enum):
    UNCOMMITTED = "finished items are not committed"
    SLOW = "slow items"
    OVERDUE = "an item is over its time"
    TAKEN = "taken, and not in progress"
    BUSY = "busy with other runs"
    QUEUED = "queued, and not taken"
    NOWHERE = "neither queued nor claimed"


class Stall(NamedTuple):
    kind: Kind
    #: For people.
    text: str


class AtHand(NamedTuple):
    """What a worker has of one run, as its entry says."""

    #: Items in progress; the oldest one, for how long (s), and how long it may take (s; 0: as long as it likes).
    begun: int
    item: int
    since_s: float
    limit_s: float
    #: Whether finished items of it wait there to be committed.
    uncommitted: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run that does not move."""

    run: str
    stalled_s: float
    snapshot: Snapshot
    entries: Sequence[WorkerInfo]
    lock: LockStatus
    #: Which process blocks the output, in words; "" if none does.
    blocker: str


def at_hand_text(runs: Mapping[str, AtHand]) -> str:
    """The text for an entry."""
    return json.dumps({run: list(runs[run]) for run in list(runs)[:MOST_RUNS]})


def explain_stall(facts: Facts) -> Stall:
    """Say what is in the run's way, as far as anybody knows."""
    live = {entry.id: entry for entry in facts.entries if not entry.silent}
    at_hand = {entry.label: found for entry in live.values() if (found := _at_hand(entry, facts.run)) is not None}
    for find in (_uncommitted, _in_progress):
        stall = find(facts, at_hand)
        if stall is not None:
            return stall
    return _not_begun(facts, live)


def _uncommitted(facts: Facts, at_hand: Mapping[str, AtHand]) -> Stall | None:
    waiting = [label for label, found in at_hand.items() if found.uncommitted]
    if not waiting:
        return None
    where = f"finished items wait at {', '.join(waiting)}"
    if facts.blocker:
        return _stall(facts, Kind.UNCOMMITTED, f"{where}, for {facts.blocker}")
    if facts.lock.holder:
        held = seconds_text(facts.lock.held_s)
        return _stall(facts, Kind.UNCOMMITTED, f"{where}; the output's lock is held by {facts.lock.label} for {held}")
    return _stall(facts, Kind.UNCOMMITTED, f"{where}, and no process holds the output's lock: is their disk slow?")


def _in_progress(facts: Facts, at_hand: Mapping[str, AtHand]) -> Stall | None:
    begun = {label: found for label, found in at_hand.items() if found.begun}
    if not begun:
        return None
    label, oldest = max(begun.items(), key=lambda pair: pair[1].since_s)
    count = sum(found.begun for found in begun.values())
    item = f"item {oldest.item} has been in progress at {label} for {seconds_text(oldest.since_s)}"
    if oldest.limit_s and oldest.since_s > oldest.limit_s + _LATE_S:
        return _stall(facts, Kind.OVERDUE, f"{item}, although it may take {seconds_text(oldest.limit_s)} only")
    may = f"it may take {seconds_text(oldest.limit_s)}" if oldest.limit_s else "it may take as long as it likes"
    return _stall(
        facts,
        Kind.SLOW,
        f"its items are slow, which is not an error: {item}; {may}. {count_text(count, 'item')} in progress",
    )


def _not_begun(facts: Facts, live: Mapping[str, WorkerInfo]) -> Stall:
    owners = {worker for name, (worker, _) in facts.snapshot.leased.items() if _run_of(name) == facts.run}
    if owners & live.keys():
        who = ", ".join(sorted(live[worker].label for worker in owners & live.keys()))
        return _stall(facts, Kind.TAKEN, f"{who} took batches of it, but no item is in progress there: see the log")
    if owners:
        return _stall(
            facts,
            Kind.TAKEN,
            f"its batches are held by {', '.join(sorted(owners))}, which is silent; others take them over "
            "when the leases have expired",
        )
    queued = sum(_run_of(name) == facts.run for name in facts.snapshot.queued)
    busy = [entry.label for entry in live.values() if entry.fields.get("state") == "busy"]
    if queued and len(busy) == len(live):
        return _stall(
            facts, Kind.BUSY, f"its {count_text(queued, 'batch')} wait while all workers are busy with other runs"
        )
    if queued:
        idle = ", ".join(sorted(entry.label for entry in live.values() if entry.label not in busy))
        return _stall(
            facts, Kind.QUEUED, f"its {count_text(queued, 'batch')} wait on the queue, and {idle} takes none of them"
        )
    return _stall(facts, Kind.NOWHERE, "what is left of it is neither queued nor claimed, and was not put back")


def _stall(facts: Facts, kind: Kind, why: str) -> Stall:
    shown_s = facts.stalled_s // _STEP_S * _STEP_S
    return Stall(kind, f"{LEAD}{seconds_text(shown_s)}: {why}")


def _at_hand(entry: WorkerInfo, run: str) -> AtHand | None:
    try:
        values: Any = json.loads(entry.fields.get(FIELD, "{}"))[run]
        begun, item, since_s, limit_s, uncommitted = values
    except (ValueError, TypeError, KeyError):
        return None  # it has nothing of it, or is of another version
    return AtHand(
        replies.number(begun),
        replies.number(item),
        replies.amount(since_s),
        replies.amount(limit_s),
        bool(uncommitted),
    )


def _run_of(batch: str) -> str:
    try:
        return parse_batch_id(batch)[0]
    except UsageError:
        return ""  # another program's
