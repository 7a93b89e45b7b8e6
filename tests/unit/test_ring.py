"""The memory that a child shares with its worker: borrowed memory is never overwritten, and all of it comes back."""

from __future__ import annotations

import mmap
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from sheaf_worker.wire.ring import Memory, RingReader, RingWriter, ring_bytes

RING = 2 * mmap.PAGESIZE


def a_ring() -> tuple[RingReader, Memory]:
    reader, memory = RingReader.create(RING)
    memory.close_descriptor()
    return reader, memory


def test_what_does_not_fit_is_refused_until_room_comes_back() -> None:
    """A full ring says so; only returned memory makes room."""
    reader, memory = a_ring()
    writer = RingWriter(memory)
    first = writer.put([b"a" * RING], RING)
    assert first == 0
    view, borrow = reader.borrow(first, RING)

    assert writer.put([b"b"], 1) is None
    del view
    reader.sweep()
    assert writer.put([b"b"], 1) is None
    del borrow
    reader.sweep()

    place = writer.put([b"b"], 1)
    assert place is not None
    assert bytes(reader.borrow(place, 1)[0]) == b"b"
    assert writer.put([b"c" * (RING + 1)], RING + 1) is None


@given(st.lists(st.tuples(st.integers(1, RING // 2), st.integers(0, 5)), max_size=60))
def test_borrowed_memory_may_come_back_in_any_order(steps: list[tuple[int, int]]) -> None:
    """Records of every size, around the ring's end, given back early or late: each reads as it was put."""
    reader, memory = a_ring()
    writer = RingWriter(memory)
    lent: deque[tuple[memoryview, object, bytes]] = deque()
    for number, (size, place) in enumerate(steps):
        record = bytes([number % 256]) * size
        position = writer.put([record[:1], record[1:]], size)
        if position is not None:
            lent.append((*reader.borrow(position, size), record))
        elif lent:
            lent.rotate(place)
            lent.popleft()
            reader.sweep()
        assert all(view == expected for view, _, expected in lent)
    lent.clear()
    reader.sweep()
    assert writer.put([b"x" * (RING // 2)], RING // 2) is not None


def test_a_forked_copy_writes_nothing() -> None:
    """What it puts would be written over what the original has put."""
    _, memory = a_ring()
    writer = RingWriter(memory)
    writer.detach()

    assert writer.put([b"x"], 1) is None


def test_many_children_share_what_memory_there_is() -> None:
    """A small pool has large rings, a large one has small ones; all are whole pages."""
    assert [ring_bytes(children) >> 20 for children in (1, 2, 8, 16, 64)] == [48, 24, 16, 8, 4]
    assert all(ring_bytes(children) % mmap.PAGESIZE == 0 for children in range(1, 200))


def test_what_is_put_at_once_leaves_most_of_the_ring_free() -> None:
    """Whatever the ring's size; and in a large one it is not so much that a result waits for long."""
    for ring_mib, portion_kib in ((4, 256), (16, 1024), (24, 1536), (48, 2048)):
        memory = Memory(ring_mib << 20)
        memory.close_descriptor()
        assert RingWriter(memory).portion == portion_kib << 10
