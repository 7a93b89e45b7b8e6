"""How many items a child is sent ahead of the one it works on.

Enough that it never waits for the worker, and few enough to leave the rest to others. Unless the task has asked for
a fixed window, the number follows the time that recent items took.
"""

from __future__ import annotations

import math

#: Seconds of work that a child is sent ahead.
AHEAD_S = 0.15
#: ... or at least this fraction of it near the end of a run: with less than 20 ms of work it would mostly wait.
_LEAST = 8
#: Never more items than this.
MOST_ITEMS = 20_000
#: Each report raises the number at most by this factor: the first items may have been easy ones.
_GROWTH = 8


class Prefetch:
    """One run's, in one child. `window`: as many items as the task has asked for; 0: adapt. `item_s`: what an item of
    the run takes, if that is known.
    """

    __slots__ = ("_covered_s", "_floor", "_item_s", "adaptive", "target")

    def __init__(self, window: int = 0, item_s: float | None = None) -> None:
        self.adaptive = window == 0
        self._item_s = self._covered_s = 0.0
        self._set_target(window or (_ideal(item_s) if item_s else 1))

    def _set_target(self, target: int) -> None:
        self.target = target
        self._floor = max(target // _LEAST, 1)

    def missing(self, most: int, present: int) -> int:
        """How many items to send to a child that has `present`; 0 while it has more than half of what it should have.

        `most`: the upper limit if the target is adaptive, except that a minimum of work is sent in any case.
        """
        target = self.target
        if self.adaptive and most < target:
            target = most if most > self._floor else self._floor
        missing = target - present
        return missing if 2 * missing >= target else 0

    def learn(self, count: int, busy_s: float) -> float:
        """Adapt to a report of `count` items that took `busy_s`; return the seconds that an item takes.

        A report is weighted by the time it covers: after one that ends in mid-item, the next looks too fast. The weight
        of older reports is halved each time.
        """
        self._covered_s = self._covered_s / 2 + busy_s
        self._item_s += (busy_s / count - self._item_s) * (busy_s / self._covered_s if self._covered_s else 1)
        if self.adaptive:
            self._set_target(min(_ideal(self._item_s), self.target * _GROWTH))
        return self._item_s

    def choice(self, task: str) -> tuple[str, str, str]:
        """Name, value and reason, for people."""
        if not self.adaptive:
            why = f"as the task {task} wants it"
        elif self._item_s:
            why = f"{AHEAD_S:g} s of work at {self._item_s * 1e6:,.0f} µs an item"
        else:
            why = "to begin with"
        return "items ahead of a process", f"{self.target:,}", why


def _ideal(item_s: float) -> int:
    return max(1, min(MOST_ITEMS, math.floor(AHEAD_S / item_s))) if item_s > 0 else MOST_ITEMS
