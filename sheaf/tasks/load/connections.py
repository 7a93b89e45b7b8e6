"""How many connections a child keeps busy: as many as requested, or as many as turn out to pay.

Unasked it begins with 32 and tries more and more for as long as that brings in clearly more pages a second, up to 256.
It tries only while all connections are busy and the child itself has time to spare; it goes back if the trial did not
pay. There are never more than the process may have files open for. A host that says that it is overloaded (429, 503)
has a limit of its own: see `hosts.py`.
"""

from __future__ import annotations

from typing import NamedTuple

#: Where a child begins, and where it stops, unless the run says how many.
FIRST, MOST_UNASKED = 32, 256
#: Rounds are no shorter than this, and see each connection's page on average once.
_ROUND_S = 0.1
#: Of what a trial's connections could bring in more, so much has to come in.
_WORTH = 0.25
#: A child that waits less than this share of its time has no use for more connections.
_SPARE = 0.05
#: A child that waits this share of its time tries four times as many at once.
_WIDE_OPEN, _STRIDE = 0.8, 4
#: A child that waits more than this share of its time gives a trial a second round: the first may have been bad luck.
_IDLE, _CHANCES = 0.3, 2
#: A round that was short of items for more than this share of its time says nothing.
_DRAINED = 0.2
#: Seconds until a trial that did not pay is made again; doubled each time.
_HOLD_S, _LONGEST_HOLD_S = 3.0, 60.0


class Choice(NamedTuple):
    """What was decided automatically, and why."""

    name: str
    value: int
    why: str


class Connections:
    """The number of connections, and what is known of the round that is on. Times are of time.monotonic()."""

    def __init__(self, asked: int, now: float, room: int = MOST_UNASKED * 2) -> None:
        self.most = min(asked or MOST_UNASKED, room)
        self.limit = min(asked or FIRST, room)
        self._why = "as asked for" if asked else f"the first guess; up to {self.most} while more pay"
        if self.most < (asked or MOST_UNASKED):
            self._why = f"at most {self.most}, as this process may have few files open"
        self._adapts = not asked
        self._before: tuple[int, float] | None = None
        self._chances = _CHANCES
        self._hold_s = _HOLD_S
        self._held_until = 0.0
        #: Whether a connection is free for want of an item, and since when.
        self.drained, self._drained_since = False, now
        self._begin_round(now)

    @property
    def choice(self) -> Choice:
        return Choice("connections", self.limit, self._why)

    def ended(self, count: int) -> None:
        """This many connections have finished a page."""
        self._ended += count

    def waited(self, seconds: float) -> None:
        """The child had nothing to do but to wait for the network."""
        self._waited_s += seconds

    def mark_drained(self, now: float) -> None:
        """A connection is free and there is no item for it."""
        if not self.drained:
            self.drained, self._drained_since = True, now

    def supplied(self, now: float) -> None:
        """There are items again."""
        if self.drained:
            self._drained_s += now - self._drained_since
            self.drained = False

    def lacks_files(self, busy: int, now: float) -> None:
        """A connection could not be opened beside `busy` others, since there was no descriptor for it."""
        self.most = max(1, min(self.most, busy))
        if self.limit > self.most:
            self.limit = self.most
            self._before = None
            self._why = "for more there were no files left"
            self._begin_round(now)

    def look(self, now: float) -> None:
        """If the round is over, judge it and begin the next one."""
        lasted_s = now - self._begun
        if not self._adapts or self._ended < self.limit or lasted_s < _ROUND_S:
            return
        self.supplied(now)
        if self._drained_s < _DRAINED * lasted_s:
            self._quarantine(self._ended / lasted_s, self._waited_s / lasted_s, now)
        self._begin_round(now)

    def _quarantine(self, rate: float, spare: float, now: float) -> None:
        if self._before is not None:
            few, rate_of_few = self._before
            if rate < rate_of_few * (1 + _WORTH * (self.limit / few - 1)):
                self._chances -= 1
                if not self._chances or spare < _IDLE:
                    self._go_back(few, f"{rate_of_few:,.0f} pages/s; {self.limit} brought {rate:,.0f}", now)
                return
            self._why = f"{rate:,.0f} pages/s; {few} brought {rate_of_few:,.0f}"
            self._hold_s = _HOLD_S
        self._before, self._chances = None, _CHANCES
        if spare < _SPARE:
            self._why = f"they keep a core busy: {rate:,.0f} pages/s, and {spare:.0%} of the time to spare"
        elif now >= self._held_until and self.limit < self.most:
            self._before = self.limit, rate
            self.limit = min(self.most, self.limit * (_STRIDE if spare >= _WIDE_OPEN else 2))

    def _go_back(self, few: int, why: str, now: float) -> None:
        self.limit, self._before, self._chances, self._why = few, None, _CHANCES, why
        self._held_until = now + self._hold_s
        self._hold_s = min(2 * self._hold_s, _LONGEST_HOLD_S)

    def _begin_round(self, now: float) -> None:
        self._begun = now
        self._ended = 0
        self._waited_s = self._drained_s = 0.0
        self.drained = False
