"""How large the next segment should be: what the workers do in a fraction of a second, as far as was seen."""

from __future__ import annotations

#: A segment grows while the last ones came back within this time, and shrinks when they took longer than that.
GROW_BELOW_S, SHRINK_ABOVE_S = 0.25, 1.0
#: Items, and bytes of arguments or of results, that a segment holds at most (one item may weigh more).
LARGEST = 5000
LARGEST_BYTES = 4 << 20


class ChunkSizer:
    """The pace of one stream."""

    def __init__(self, smallest: int = 1) -> None:
        self.size = self._smallest = max(1, smallest)
        #: Bytes of results per item, of late.
        self._result_bytes = 0.0

    def learn(self, count: int, took_s: float, result_bytes: int) -> None:
        """A segment of `count` items came back, `took_s` seconds after it was sent off."""
        self._result_bytes += (result_bytes / count - self._result_bytes) * 0.5
        if took_s < GROW_BELOW_S and count >= self.size:
            self.size *= 2
        elif took_s > SHRINK_ABOVE_S:
            self.size //= 2
        most = min(LARGEST, int(LARGEST_BYTES / self._result_bytes) if self._result_bytes else LARGEST)
        self.size = max(self._smallest, min(self.size, most), 1)
