"""Memory that a child shares with its worker: records stay there until they are committed, and never pass the pipe.

    child: put() ──position, through the pipe──► worker: borrow() ──► commit ──► the borrow ends: room again

A ring buffer. The child writes ahead of the borrowed bytes, and the worker publishes up to where all of them were
returned. The memory outlives a child that dies: it is freed when the last borrow ends.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from typing import Any, Self

#: Bytes of a child's ring. A pool's rings together hold two commits, one that is collected and one that is written, and
#: half as much again, as children do not fill them evenly. In a large pool each ring is smaller.
_USUAL_BYTES, _SMALLEST_BYTES, _LEAST_BYTES, _ALL_BYTES = 16 << 20, 4 << 20, 48 << 20, 128 << 20
#: The most to put at once: this many bytes, and this fraction of the ring.
_MOST_AT_ONCE, _PART_AT_ONCE = 2 << 20, 16
#: The ring starts here, after the total of returned bytes.
_HEAD_BYTES = mmap.PAGESIZE
#: Records of this size on average are copied one by one; smaller ones are joined first.
_JOIN_BELOW = 4096


def ring_bytes(children: int) -> int:
    """The size of each ring in a pool with this many children."""
    least, most = (total // max(1, children) // mmap.PAGESIZE * mmap.PAGESIZE for total in (_LEAST_BYTES, _ALL_BYTES))
    return max(_SMALLEST_BYTES, min(max(_USUAL_BYTES, least), most))


class Memory:
    """Anonymous memory that can be passed to a process when it is spawned."""

    def __init__(self, ring: int, descriptor: int | None = None) -> None:
        self.ring = ring
        if descriptor is None:
            descriptor = os.memfd_create("sheaf-ring", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, _HEAD_BYTES + ring)
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, _HEAD_BYTES + ring)
        self.returned = memoryview(self._map)[:8].cast("Q")
        self.view = memoryview(self._map)[_HEAD_BYTES:]

    def __reduce__(self) -> tuple[Callable[..., Memory], tuple[int, Any]]:
        return _attach, (self.ring, reduction.DupFd(self._descriptor))

    def close_descriptor(self) -> None:
        """The mapping stays until the last view of it is gone."""
        os.close(self._descriptor)


def _attach(ring: int, handed_over: Any) -> Memory:
    memory = Memory(ring, handed_over.detach())
    memory.close_descriptor()
    return memory


class RingWriter:
    """The child's side."""

    def __init__(self, memory: Memory) -> None:
        self._memory: Memory | None = memory
        #: Bytes that are best put at once: fewer cost more messages, more leave gaps at the ring's end.
        self.portion = min(_MOST_AT_ONCE, memory.ring // _PART_AT_ONCE)
        #: Bytes ever put, gaps at the ring's end included.
        self._head = 0

    def put(self, records: Sequence[bytes], size: int) -> int | None:
        """Copy records of `size` bytes in total; return their position, or None if there is no room now."""
        memory = self._memory
        if memory is None:
            return None
        offset = self._head % memory.ring
        position = self._head if offset + size <= memory.ring else self._head + memory.ring - offset
        if position + size - memory.returned[0] > memory.ring:
            return None
        offset = position % memory.ring
        for buffer in records if size >= _JOIN_BELOW * len(records) else (b"".join(records),):
            memory.view[offset : offset + len(buffer)] = buffer
            offset += len(buffer)
        self._head = position + size
        return position

    def detach(self) -> None:
        """In a forked copy of the child: the memory is the original's."""
        self._memory = None


class Borrow:
    """Bytes of the ring that are in use. A borrow ends when the last reference to it is gone."""

    __slots__ = ("_entry",)

    def __init__(self, entry: list[int]) -> None:
        self._entry = entry

    def __del__(self) -> None:
        # A single store, so that it may happen in any thread; sweep() sees it.
        self._entry[1] = 1


class RingReader:
    """The worker's side. For one thread; borrows may end in any."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        #: The end of each borrow, oldest first, and whether it was returned.
        self._borrowed: deque[list[int]] = deque()

    @classmethod
    def create(cls, ring: int) -> tuple[Self, Memory]:
        memory = Memory(ring)
        return cls(memory), memory

    def check(self, position: int, size: int) -> None:
        """Raise ValueError for what cannot be in the ring, TypeError for what is no position."""
        if size < 0 or position % self._memory.ring + size > self._memory.ring:
            raise ValueError(f"{size} bytes at {position} are not within a ring of {self._memory.ring}")

    def borrow(self, position: int, size: int) -> tuple[memoryview, Borrow]:
        """Return the bytes that the child has put there. Raises as check() does."""
        self.check(position, size)
        self.sweep()
        offset = position % self._memory.ring
        entry = [position + size, 0]
        self._borrowed.append(entry)
        return self._memory.view[offset : offset + size].toreadonly(), Borrow(entry)

    def sweep(self) -> None:
        """Publish the returned bytes, as room for the child."""
        while self._borrowed and self._borrowed[0][1]:
            self._memory.returned[0] = self._borrowed.popleft()[0]
