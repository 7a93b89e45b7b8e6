"""Value and Array of `sheaf.multiprocessing`: ctypes that several processes read and write."""

from __future__ import annotations

import array
import ctypes
import threading
import time
from typing import Any

import pytest

from sheaf.core.errors import NotShareable
from sheaf.multiprocessing.objects.locks import Lock
from sheaf.multiprocessing.objects.memory import Array, Value
from tests.integration import peer_tasks
from tests.integration.peer_tasks import Point
from tests.integration.peers import ProgramAtWork, sent

SOON = 30


@pytest.mark.parametrize("lock", [True, False])
@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("i", 4343, 24234),
        ("d", 3.625, -4.25),
        ("h", -232, 234),
        ("q", 2**33, 2**34),
        ("c", b"x", b"y"),
        ("u", "é", "ü"),
    ],
)
def test_a_value_is_of_its_type(work: ProgramAtWork, code: str, before: Any, after: Any, lock: bool) -> None:
    value = Value(work.member, code, before, lock=lock)
    there = sent(work.member, work.here("1"), value)
    assert value.value == there.value == before
    there.value = after
    assert value.value == after


def test_values_are_what_ctypes_makes_of_them(work: ProgramAtWork) -> None:
    value = Value(work.member, "b")
    assert value.value == 0
    value.value = 300
    assert value.value == ctypes.c_byte(300).value
    with pytest.raises(TypeError):
        value.value = "text"
    assert Value(work.member, ctypes.c_bool, True).value is True
    for wrong in ("x", ctypes.c_void_p, ctypes.c_char_p, dict, 5):
        with pytest.raises(TypeError):
            Value(work.member, wrong)


def test_a_value_has_a_lock(work: ProgramAtWork) -> None:
    lock = Lock(work.member)
    assert Value(work.member, "i", lock=lock).get_lock() is lock
    with Value(work.member, "i", lock=None).get_lock():
        pass
    raw = Value(work.member, "i", 5, lock=False)
    assert not hasattr(raw, "get_lock")
    assert not hasattr(raw, "get_obj")
    wrong: Any = "navalue"
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        Value(work.member, "i", lock=wrong)
    with pytest.raises(NotShareable, match=r"use \.value, indexes and slices"):
        Value(work.member, "i").get_obj()


def test_an_access_waits_for_the_lock(work: ProgramAtWork) -> None:
    """Of another process; this thread's own does not block it."""
    value = Value(work.member, "i", 1)
    there = sent(work.member, work.here("1"), value)
    with value:
        value.value += 1
        read = threading.Thread(target=there.__setattr__, args=("value", 9))
        read.start()
        time.sleep(0.2)
        assert value.value == 2
    read.join(SOON)
    assert value.value == 9


def test_an_access_under_a_lock_that_is_not_recursive_waits_for_ever(work: ProgramAtWork) -> None:
    """As odd as in the standard: programs take such a Value's lock, or its value, not both."""
    value = Value(work.member, "i", 1, lock=Lock(work.member))
    done = threading.Event()

    def read() -> None:
        assert value.value == 1
        done.set()

    with value.get_lock():
        thread = threading.Thread(target=read)
        thread.start()
        assert not done.wait(0.3)
    thread.join(SOON)
    assert done.is_set()


def test_no_increment_under_the_values_lock_is_lost(work: ProgramAtWork) -> None:
    value = Value(work.member, "i", 0)
    peers = [work.start(peer_tasks.count_under_lock, value.get_lock(), value, 50) for _ in range(3)]
    assert [peer.join() for peer in peers] == [0] * 3
    assert value.value == 150


def test_a_structure_has_its_fields(work: ProgramAtWork) -> None:
    for lock in (True, False):
        point = Value(work.member, Point, 1.5, 2.5, lock=lock)
        there = sent(work.member, work.here("1"), point)
        there.x = 7
        assert (point.x, point.y) == (7.0, 2.5)
        with pytest.raises(AttributeError):
            _ = point.z


@pytest.mark.parametrize("lock", [True, False])
def test_an_array_is_read_and_written_by_place(work: ProgramAtWork, lock: bool) -> None:
    numbers = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831]
    shared = Array(work.member, "i", numbers, lock=lock)
    there = sent(work.member, work.here("1"), shared)
    assert (len(shared), shared[3], shared[-1], list(shared)) == (10, 821, 831, numbers)
    shared[4:8] = numbers[4:8] = array.array("i", [1, 2, 3, 4])
    there[0] = numbers[0] = -1
    there[1:9:3] = numbers[1:9:3] = [7, 8, 9]
    for part in (slice(None), slice(2, 7), slice(8, 2, -2), slice(5, 5), slice(-3, None)):
        assert there[part] == numbers[part]
    for place in (10, -11):
        with pytest.raises(IndexError, match="invalid index"):
            shared[place]
        with pytest.raises(IndexError):
            shared[place] = 1
    with pytest.raises(ValueError, match=r"same size|sequence"):
        shared[0:2] = [1, 2, 3]
    with pytest.raises(TypeError):
        shared[0] = "text"
    assert list(Array(work.member, "d", 3)) == [0.0, 0.0, 0.0]
    assert len(Array(work.member, "d", 0)) == 0


def test_an_array_of_characters_is_a_text(work: ProgramAtWork) -> None:
    text = Array(work.member, "c", b"hello")
    assert (text.value, text.raw, text[1:3], text[0]) == (b"hello", b"hello", b"el", b"h")
    text.value = b"ab"
    assert (text.value, text.raw) == (b"ab", b"ab\0lo")
    text.raw = b"12345"
    assert text.value == b"12345"
    with pytest.raises(ValueError, match="too long"):
        text.value = b"too long for it"
    assert not hasattr(Array(work.member, "i", 2), "value")


def test_an_array_of_structures(work: ProgramAtWork) -> None:
    points = Array(work.member, Point, [(1, 2), (3, 4)])
    assert [(point.x, point.y) for point in sent(work.member, work.here("1"), points)] == [(1, 2), (3, 4)]
    points[1] = (5, 6)
    assert (points[1].x, points[1].y) == (5, 6)
