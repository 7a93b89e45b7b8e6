"""What a worker sees of the items in a child's hand, also when the child is gone."""

from __future__ import annotations

import time

import pytest

from sheaf_worker.wire.slots import SERIAL, SLOTS, SlotReader, SlotWriter, new_slots


class Pair:
    def __init__(self) -> None:
        shared = new_slots()
        self.writer, self.reader = SlotWriter(shared), SlotReader(shared)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_items_are_in_hand_from_their_begin_to_their_end(pair: Pair) -> None:
    before = time.monotonic()
    pair.writer.begin(0)
    pair.writer.begin(7)

    in_hand = pair.reader.in_hand()
    assert set(in_hand) == {0, 7}
    assert all(before <= begun <= time.monotonic() for begun in in_hand.values())

    assert pair.writer.finish(0)
    assert set(pair.reader.in_hand()) == {7}
    assert not pair.writer.finish(0), "it is in hand no more"


def test_an_item_that_waits_for_its_next_try_begins_later(pair: Pair) -> None:
    pair.writer.begin(3)
    pair.writer.postpone(3, 100.0)

    assert pair.reader.in_hand()[3] > time.monotonic() + 90


def test_there_is_a_slot_for_every_item_but_for_no_more(pair: Pair) -> None:
    for index in range(SLOTS - 1):
        pair.writer.begin(index)
    assert not pair.writer.free, "the last one is the serial one"

    pair.writer.finish(5)
    pair.writer.begin(9999)
    assert set(pair.reader.in_hand()) == {*range(SLOTS - 1), 9999} - {5}


def test_a_series_of_items_has_one_slot(pair: Pair) -> None:
    """Its time is when the first was begun, or when the worker first saw the present one."""
    cells = pair.writer.begin_serial()
    cells[SERIAL] = 4 + 1
    first = pair.reader.in_hand()
    assert list(first) == [4]
    assert pair.reader.in_hand() == first, "as long as it is the same item, so is its time"

    cells[SERIAL] = 5 + 1
    second = pair.reader.in_hand()
    assert list(second) == [5]
    assert second[5] >= first[4]

    pair.writer.end_serial()
    assert pair.reader.in_hand() == {}
    before = time.monotonic()
    pair.writer.begin_serial()[SERIAL] = 5 + 1
    assert pair.reader.in_hand()[5] >= before, "the same item again, in another series"


def test_what_was_in_hand_is_said_when_all_is_cleared(pair: Pair) -> None:
    """An exception has escaped the task: these are charged."""
    pair.writer.begin(1)
    cells = pair.writer.begin_serial()
    cells[SERIAL] = 8 + 1

    assert sorted(pair.writer.clear()) == [1, 8]
    assert pair.reader.in_hand() == {}
    assert pair.writer.clear() == []


def test_a_forked_copy_changes_nothing(pair: Pair) -> None:
    pair.writer.begin(1)
    pair.writer.detach()

    pair.writer.begin(2)
    pair.writer.finish(1)

    assert set(pair.reader.in_hand()) == {1}
