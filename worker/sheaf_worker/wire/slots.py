"""The items that a child has in hand, in memory shared with its worker, which outlives the child.

A slot is two integers: the item's index + 1 (0: free), and when it was begun (monotonic, ns). One process writes, the
other reads, without a lock: each integer is written atomically, the time before the index.

The serial slot, the last one, is for items that are done one after the other, for which reading the clock each time
would cost too much: its time is when the first of them was begun, and the reader notes when it first sees an index.
"""

from __future__ import annotations

import ctypes
import time
from multiprocessing.sharedctypes import RawArray
from typing import Any

#: Items that a child can have in hand at once; a task that asks for more gets none for now.
SLOTS = 1024
#: The slot of items that are done one after the other.
SERIAL = SLOTS - 1

SharedSlots = Any  # what RawArray returns; ctypes makes its types as it goes


def new_slots() -> SharedSlots:
    return RawArray(ctypes.c_int64, 2 * SLOTS)


class SlotWriter:
    """The child's side. Used by one thread."""

    def __init__(self, shared: SharedSlots) -> None:
        self._cells = memoryview(shared).cast("B").cast("q")
        #: Empty while the child has as many items in hand as it can have.
        self.free = list(range(SERIAL - 1, -1, -1))
        self._used: dict[int, int] = {}

    def begin(self, index: int) -> None:
        slot = self.free.pop()
        self._used[index] = slot
        self._cells[SLOTS + slot] = time.monotonic_ns()
        self._cells[slot] = index + 1

    def postpone(self, index: int, wait_s: float) -> None:
        """Have the item's time start this much later."""
        self._cells[SLOTS + self._used[index]] = time.monotonic_ns() + int(wait_s * 1e9)

    def finish(self, index: int) -> bool:
        """Free the item's slot; False if the item is not in hand."""
        slot = self._used.pop(index, None)
        if slot is None:
            return False
        self._cells[slot] = 0
        self.free.append(slot)
        return True

    def begin_serial(self) -> memoryview:
        """Start a series of items: the caller writes each index + 1 into the cell SERIAL of the returned view."""
        self._cells[SLOTS + SERIAL] = time.monotonic_ns()
        return self._cells

    def end_serial(self) -> None:
        self._cells[SERIAL] = 0

    def detach(self) -> None:
        """In a forked copy: the items that it begins and finishes do not count."""
        self._cells = memoryview(bytearray(16 * SLOTS)).cast("q")

    def clear(self) -> list[int]:
        """Free all slots; return the items that were in hand."""
        in_hand = list(self._used)
        for index in in_hand:
            self.finish(index)
        if self._cells[SERIAL]:
            in_hand.append(self._cells[SERIAL] - 1)
            self.end_serial()
        return in_hand


class SlotReader:
    """The worker's side."""

    def __init__(self, shared: SharedSlots) -> None:
        self._cells = memoryview(shared).cast("B").cast("q")
        #: The index last seen in the serial slot, and since when.
        self._seen = (0, 0)

    def in_hand(self) -> dict[int, float]:
        """Return the index of each item in hand, and when (monotonic, seconds) it was begun."""
        cells, serial = self._cells, self._cells[SERIAL]
        in_hand = {index - 1: cells[SLOTS + slot] / 1e9 for slot, index in enumerate(cells[:SERIAL].tolist()) if index}
        if serial:
            if serial != self._seen[0]:
                self._seen = (serial, time.monotonic_ns())
            in_hand[serial - 1] = max(cells[SLOTS + SERIAL], self._seen[1]) / 1e9
        return in_hand
