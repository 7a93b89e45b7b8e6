"""Divides the time of the pool's processes evenly among parties (runs, programs' sessions).

What counts is time, not items or batches: one run's may take a thousand times as long as another's. A new party starts
at the even share, so it owes nothing and is owed nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from sheaf.run.sessions import party_of
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State

#: Process seconds by which parties may differ before a process moves from one to another.
QUANTUM_S = 0.25
#: A process stays with a party for at least this many times as long as the party's task takes to prepare.
_WORTH = 5
#: The most that a party can be owed, in seconds, while other parties' items occupy all processes.
_OWED_S = 30.0
#: The shortest interval between two counts, in seconds: the pool dispatches thousands of times a second.
_COUNT_S = 0.01


class FairShare:
    """For the pool's thread. Times are process seconds: two processes use two in a second."""

    def __init__(self) -> None:
        #: Party -> seconds it has used. Of absent parties, only those that used more than their share.
        self._had: dict[str, float] = {}
        #: The even share: what a party has used that used neither more nor less than its share.
        self._even = 0.0
        #: Party -> seconds that its task took to prepare.
        self._price: dict[str, float] = {}
        self._preparing: dict[int, float] = {}
        self._counted = 0.0

    def count(self, children: Iterable[ChildHandle], waiting: Collection[str], now: float) -> None:
        """Charge the time since the last call to the parties. `waiting`: those with items in the backlog."""
        elapsed = now - self._counted
        if elapsed < _COUNT_S:
            return
        self._counted = now
        busy = Counter(party_of(child.run) for child in children if child.run is not None and self._occupied(child))
        active = {*waiting, *busy}
        if len(active) < 2 and active.issuperset(self._had):
            # A single party shares with no other: the next one to come starts level with it.
            self._had.clear()
            return
        for party in active:
            self._had[party] = max(self._had.get(party, self._even), self._even - _OWED_S)
        for party, count in busy.items():
            self._had[party] += count * elapsed
        self._even += busy.total() * elapsed / max(1, len(active))
        for party in [party for party, had in self._had.items() if party not in active and had <= self._even]:
            del self._had[party]
            self._price.pop(party, None)
        for child in children:
            self._note_price(child, elapsed)

    def choose(self, own: str | None, waiting: Collection[str], serving: Counter[str]) -> str:
        """Choose which of the waiting parties a process that serves `own` should serve next.

        `serving`: how many processes serve each party, or will once they have finished their present items.
        """

        def due(party: str) -> float:
            return self._had.get(party, self._even) + QUANTUM_S * serving[party]

        least = min(waiting, key=due)
        if own not in waiting or own is None or due(own) - QUANTUM_S <= due(least) + self._tolerance(least):
            return own if own is not None and own in waiting else least
        return least

    def _tolerance(self, party: str) -> float:
        return max(QUANTUM_S, _WORTH * self._price.get(party, 0.0))

    @staticmethod
    def _occupied(child: ChildHandle) -> bool:
        return bool(child.outstanding) or child.state is State.PREPARING

    def _note_price(self, child: ChildHandle, elapsed: float) -> None:
        if child.state is State.PREPARING:
            self._preparing[child.number] = self._preparing.get(child.number, 0.0) + elapsed
        elif child.number in self._preparing:
            took = self._preparing.pop(child.number)
            if child.run is not None:
                self._price[party_of(child.run)] = took
