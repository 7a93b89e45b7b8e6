"""What a child has in hand, in memory it shares with its worker: still there when the child is not.

A slot is two integers: the item's index + 1 (0: free), and when it was begun (monotonic, ns). One process writes, the
other reads, no lock: each integer is written in one piece, and the moment before the index.
"""

from __future__ import annotations

import ctypes
import time
from multiprocessing.sharedctypes import RawArray
from typing import Any

#: Items that a child can have in hand at once; a task that asks for more is told that there are none now.
SLOTS = 1024

SharedSlots = Any  # what RawArray returns; ctypes makes its types as it goes


def new_slots() -> SharedSlots:
    return RawArray(ctypes.c_int64, 2 * SLOTS)


class SlotWriter:
    """The child's side. Used by one thread."""

    def __init__(self, shared: SharedSlots) -> None:
        self._cells = memoryview(shared).cast("B").cast("q")
        #: Empty while the child has as many items in hand as it can have.
        self.free = list(range(SLOTS - 1, -1, -1))
        self._used: dict[int, int] = {}

    def begin(self, index: int) -> None:
        slot = self.free.pop()
        self._used[index] = slot
        self._cells[SLOTS + slot] = time.monotonic_ns()
        self._cells[slot] = index + 1

    def finish(self, index: int) -> bool:
        """Free the item's slot; False if the item is not in hand."""
        slot = self._used.pop(index, None)
        if slot is None:
            return False
        self._cells[slot] = 0
        self.free.append(slot)
        return True

    def detach(self) -> None:
        """In a forked copy: what it begins and finishes is nobody's business."""
        self._cells = memoryview(bytearray(16 * SLOTS)).cast("q")

    def clear(self) -> list[int]:
        """Free all slots; return the items that were in hand."""
        in_hand = list(self._used)
        for index in in_hand:
            self.finish(index)
        return in_hand


class SlotReader:
    """The worker's side."""

    def __init__(self, shared: SharedSlots) -> None:
        self._cells = memoryview(shared).cast("B").cast("q")

    def in_hand(self) -> dict[int, float]:
        """Return the index of each item in hand, and when (monotonic, seconds) it was begun."""
        cells = self._cells.tolist()
        indexes = cells[:SLOTS]
        if not any(indexes):
            return {}
        return {index - 1: cells[SLOTS + slot] / 1e9 for slot, index in enumerate(indexes) if index}
