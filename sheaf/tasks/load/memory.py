"""A limit on what all bodies of one child hold together. A transfer that finds no room is paused, never failed.

Every transfer may hold a little without asking. Beyond that it asks for more, and one of them, the senior, always gets
it: so one finishes, and makes room for the next. The most that is ever held is the limit, plus one whole body,
plus the little of each.
"""

from __future__ import annotations

from collections.abc import Hashable

#: Bytes that each transfer may hold without asking; most pages never ask.
FREE_BYTES = 256 << 10
#: Bytes asked for at a time.
_STEP_BYTES = 1 << 20


class MemoryLimit:
    """Keeps account of who holds how much of the limit."""

    def __init__(self, limit_bytes: int = 32 << 20) -> None:
        self._limit_bytes = limit_bytes
        self._granted: dict[Hashable, int] = {}
        self._total = 0
        self._senior: Hashable | None = None

    def grant(self, holder: Hashable) -> int:
        """Let the holder have one step more; return what it may hold by now, or 0 if there is no room."""
        if self._total + _STEP_BYTES > self._limit_bytes:
            if self._senior is None:
                self._senior = holder
            if self._senior != holder:
                return 0
        self._total += _STEP_BYTES
        granted = self._granted[holder] = self._granted.get(holder, FREE_BYTES) + _STEP_BYTES
        return granted

    def release(self, holder: Hashable) -> bool:
        """Take back what the holder was granted. Returns whether that made room."""
        granted = self._granted.pop(holder, None)
        if granted is not None:
            self._total -= granted - FREE_BYTES
        if self._senior == holder:
            self._senior = None
            return True
        return granted is not None
