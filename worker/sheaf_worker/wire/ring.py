"""Memory that a child shares with its worker: records lie there until they are committed, and never pass the pipe.

    child: put() ──position, through the pipe──► worker: lend() ──► commit ──► returned: room again

A ring. The child writes in front of what is borrowed; the worker says up to where everything was returned. A child that
dies takes nothing with it: the memory lives for as long as any part of it is borrowed.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from typing import Any, Self

#: Bytes of a child's ring. All of a pool's together hold two commits, one that is gathered and one that is written, and
#: half as much again: children do not share them evenly. Where many share the machine, each has less.
_USUAL_BYTES, _SMALLEST_BYTES, _LEAST_BYTES, _ALL_BYTES = 16 << 20, 4 << 20, 48 << 20, 128 << 20
#: What is put at once should be no more than this, and this part of the ring.
_MOST_AT_ONCE, _PART_AT_ONCE = 2 << 20, 16
#: The ring begins here; before it stands how many bytes have come back, all told.
_HEAD_BYTES = mmap.PAGESIZE
#: Records of this size on average are copied one by one; smaller ones are joined first.
_JOIN_BELOW = 4096


def ring_bytes(children: int) -> int:
    """How large each ring should be in a pool of so many children."""
    least, most = (total // max(1, children) // mmap.PAGESIZE * mmap.PAGESIZE for total in (_LEAST_BYTES, _ALL_BYTES))
    return max(_SMALLEST_BYTES, min(max(_USUAL_BYTES, least), most))


class Memory:
    """A piece of anonymous memory that can be handed to a process when it is spawned."""

    def __init__(self, ring: int, descriptor: int | None = None) -> None:
        self.ring = ring
        if descriptor is None:
            descriptor = os.memfd_create("sheaf-ring", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, _HEAD_BYTES + ring)
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, _HEAD_BYTES + ring)
        self.given_back = memoryview(self._map)[:8].cast("Q")
        self.view = memoryview(self._map)[_HEAD_BYTES:]

    def __reduce__(self) -> tuple[Callable[..., Memory], tuple[int, Any]]:
        return _attach, (self.ring, reduction.DupFd(self._descriptor))

    def close_descriptor(self) -> None:
        """The mapping stays, and ends with the last view of it."""
        os.close(self._descriptor)


def _attach(ring: int, handed_over: Any) -> Memory:
    memory = Memory(ring, handed_over.detach())
    memory.close_descriptor()
    return memory


class RingWriter:
    """The child's side."""

    def __init__(self, memory: Memory) -> None:
        self._memory: Memory | None = memory
        #: Bytes that are best put at once: fewer are more messages, more leave parts of the ring unused.
        self.portion = min(_MOST_AT_ONCE, memory.ring // _PART_AT_ONCE)
        #: Bytes ever put, gaps at the ring's end included.
        self._head = 0

    def put(self, records: Sequence[bytes], size: int) -> int | None:
        """Copy records of `size` bytes in all; return their position, None if there is no room for them now."""
        memory = self._memory
        if memory is None:
            return None
        offset = self._head % memory.ring
        position = self._head if offset + size <= memory.ring else self._head + memory.ring - offset
        if position + size - memory.given_back[0] > memory.ring:
            return None
        offset = position % memory.ring
        for piece in records if size >= _JOIN_BELOW * len(records) else (b"".join(records),):
            memory.view[offset : offset + len(piece)] = piece
            offset += len(piece)
        self._head = position + size
        return position

    def detach(self) -> None:
        """In a forked copy of the child: the memory is the original's."""
        self._memory = None


class Borrow:
    """A part of the ring that is in use. It ends when nobody refers to it any more."""

    __slots__ = ("_entry",)

    def __init__(self, entry: list[int]) -> None:
        self._entry = entry

    def __del__(self) -> None:
        # One store, so that it may happen in any thread; the reader looks at it when it next lends.
        self._entry[1] = 1


class RingReader:
    """The worker's side. For one thread; what is borrowed may be returned in any."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        #: End of each borrowed part, oldest first, and whether it was returned.
        self._lent: deque[list[int]] = deque()

    @classmethod
    def create(cls, ring: int) -> tuple[Self, Memory]:
        memory = Memory(ring)
        return cls(memory), memory

    def check(self, position: int, size: int) -> None:
        """Raise ValueError for what cannot be in the ring, TypeError for what is no position."""
        if size < 0 or position % self._memory.ring + size > self._memory.ring:
            raise ValueError(f"{size} bytes at {position} do not lie in a ring of {self._memory.ring}")

    def lend(self, position: int, size: int) -> tuple[memoryview, Borrow]:
        """Return what the child has put there. Raises as check() does."""
        self.check(position, size)
        self.sweep()
        offset = position % self._memory.ring
        entry = [position + size, 0]
        self._lent.append(entry)
        return self._memory.view[offset : offset + size].toreadonly(), Borrow(entry)

    def sweep(self) -> None:
        """Tell the child of the room that has come back."""
        while self._lent and self._lent[0][1]:
            self._memory.given_back[0] = self._lent.popleft()[0]
