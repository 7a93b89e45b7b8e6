"""Whose turn it is at the pool's processes: parties (runs, programs' sessions) share their time evenly.

What counts is time, not items or batches: those of one run may take a thousand times as long as another's. A party that
comes begins where all would be if each had had its part, so it owes nothing and is owed nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from sheaf.run.sessions import party_of
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State

#: Seconds of a process by which parties may differ: for less, no process goes over from one to another.
QUANTUM_S = 0.25
#: A party whose task takes long to be made ready keeps a process for so many times as long.
_WORTH = 5
#: Seconds that a party is owed at most, while others' items keep all processes from it.
_OWED_S = 30.0
#: Seconds that pass from one count to the next, at least: the pool looks around thousands of times in a second.
_COUNT_S = 0.01


class FairShare:
    """For the thread that runs the pool. Seconds are those of one process: two of them make two in a second."""

    def __init__(self) -> None:
        #: Party -> seconds it has had. Of those that are not here now, only the ones that have had too much.
        self._had: dict[str, float] = {}
        #: What a party has had that has had its part, no more and no less.
        self._even = 0.0
        #: Party -> seconds that its task took to be made ready.
        self._price: dict[str, float] = {}
        self._preparing: dict[int, float] = {}
        self._counted = 0.0

    def count(self, children: Iterable[ChildHandle], waiting: Collection[str], now: float) -> None:
        """Note who has had the time since the last call. `waiting`: the parties that items wait of."""
        elapsed = now - self._counted
        if elapsed < _COUNT_S:
            return
        self._counted = now
        busy = Counter(party_of(child.run) for child in children if child.run is not None and self._occupied(child))
        active = {*waiting, *busy}
        if len(active) < 2 and active.issuperset(self._had):
            # Nobody to share with: whoever comes next meets one that has had its part.
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
            self._look_at_price(child, elapsed)

    def choose(self, own: str | None, waiting: Collection[str], serving: Counter[str]) -> str:
        """Say which of the waiting parties a process should serve next that serves `own` now.

        `serving`: how many processes serve each, or will as soon as they have finished what they have.
        """

        def due(party: str) -> float:
            return self._had.get(party, self._even) + QUANTUM_S * serving[party]

        least = min(waiting, key=due)
        if own not in waiting or own is None or due(own) - QUANTUM_S <= due(least) + self._patience(least):
            return own if own is not None and own in waiting else least
        return least

    def _patience(self, party: str) -> float:
        return max(QUANTUM_S, _WORTH * self._price.get(party, 0.0))

    @staticmethod
    def _occupied(child: ChildHandle) -> bool:
        return bool(child.outstanding) or child.state is State.PREPARING

    def _look_at_price(self, child: ChildHandle, elapsed: float) -> None:
        if child.state is State.PREPARING:
            self._preparing[child.number] = self._preparing.get(child.number, 0.0) + elapsed
        elif child.number in self._preparing:
            took = self._preparing.pop(child.number)
            if child.run is not None:
                self._price[party_of(child.run)] = took
