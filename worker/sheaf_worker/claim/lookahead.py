"""How much a worker claims ahead of its pool: half a second of work of each party, and room for new parties.

No more, so that no item waits here while another worker is idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sheaf.run.sessions import party_of
from sheaf_worker.claim.throughput import Throughput
from sheaf_worker.pool.pool import Pool

#: Parties whose speed is remembered.
_KNOWN = 64
#: Parties that may wait here: at least, and per process.
_LEAST_PARTIES, _PARTIES_EACH = 4, 2


class Demand(NamedTuple):
    """What a worker wants. Parties that are not named have nothing here."""

    #: Items wanted of each party; 0: there are enough here.
    named: Mapping[str, int] = {}
    #: How many other parties it could serve, and how many items it could begin at once.
    others: int = 0
    idle: int = 0
    #: Whether to claim at once; otherwise at intervals.
    urgent: bool = False


NOTHING = Demand()


class Lookahead:
    """For the thread that runs the pool."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        #: Of all parties together, for people.
        self.rate = Throughput()
        self._rates: dict[str, Throughput] = {}

    def add(self, run: str, count: int) -> None:
        """This many items of the run are done."""
        party = party_of(run)
        rate = self._rates.pop(party, None) or Throughput()
        # The most recently used comes last.
        self._rates[party] = rate
        if len(self._rates) > _KNOWN:
            del self._rates[next(iter(self._rates))]
        rate.add(count)
        self.rate.add(count)

    def demand(self, pool: Pool, *, stalled: bool) -> Demand:
        """`stalled`: slow items occupy all processes, so further claims would only wait here."""
        if pool.paused:
            return NOTHING
        waiting = pool.backlog.parties()
        here = sum(waiting.values())
        idle, at_once = max(0, pool.free_capacity - here), pool.at_once
        named = {
            party: self._missing(party, waiting.get(party, 0), idle, at_once) for party in {*waiting, *pool.parties}
        }
        urgent = idle > 0 or any(named.values())
        if stalled and not idle:
            return Demand(named, urgent=urgent)
        # A party that is served and has nothing waiting here may have new batches on the queue.
        named.update({party: 1 for party, missing in named.items() if not missing and not waiting.get(party)})
        places = max(_LEAST_PARTIES, _PARTIES_EACH * pool.size) - len(waiting)
        return Demand(named, max(0, places), idle, urgent)

    def _missing(self, party: str, waiting: int, idle: int, at_once: int) -> int:
        rate = self._rates.get(party)
        ahead = int(rate.now(at_once) * self._ahead_s) if rate is not None else 0
        target = max(ahead, waiting + idle)
        missing = target - waiting
        # Not one by one, with a round trip for each batch.
        return missing if 2 * missing >= target else 0
