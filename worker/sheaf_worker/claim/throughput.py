"""How fast items are done, which decides how many are claimed ahead."""

from __future__ import annotations

import time

#: Seconds over which a rate is measured; MANY items need only the short round.
ROUND_S, SHORT_ROUND_S, MANY = 0.2, 0.01, 500


class Throughput:
    """Items per second over the last seconds, smoothed. Pauses count: single items should not be claimed ahead."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._count = 0
        self._since = self._last = time.monotonic()

    def now(self, at_once: int) -> float:
        """An upper bound of the rate while no result has come for a while: the items in progress may be slow ones."""
        return min(self.per_s, at_once / max(1e-6, time.monotonic() - self._last))

    def add(self, count: int) -> None:
        self._count += count
        self._last = time.monotonic()
        elapsed = self._last - self._since
        if elapsed >= (ROUND_S if self._count < MANY else SHORT_ROUND_S):
            # What was measured before counts half as much for each round that has passed since.
            before = 0.5 ** max(1.0, elapsed / ROUND_S)
            self.per_s = self.per_s * before + self._count / elapsed * (1 - before)
            self._count, self._since = 0, self._last
