"""A child's end of its pipe, as a task sees it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NoReturn

import pytest

from sheaf.run.items import Done, Item
from sheaf_worker.child.outbox import Outbox
from sheaf_worker.child.pipe import Inbox, ItemSource, start_helper
from sheaf_worker.wire.channel import Message, decode, encode, pack_indexes
from sheaf_worker.wire.exit_codes import PIPE_LOST
from sheaf_worker.wire.ring import RingReader, RingWriter
from sheaf_worker.wire.slots import SLOTS, SlotReader, SlotWriter, new_slots


class Ends:
    """Both ends of a child's pipe, in one process."""

    def __init__(self) -> None:
        self.worker, child = Pipe()
        self._ring, memory = RingReader.create(1 << 20)
        shared = new_slots()
        self.slots = SlotReader(shared)
        slots = SlotWriter(shared)
        self.outbox = Outbox(child, RingWriter(memory))
        self.inbox = Inbox(child, self.outbox, slots)
        self._child: Connection = child
        self.send("program", "run", "task", {}, "o.jsonl", {}, "")
        source = self.inbox.next_source()
        assert source is not None
        self.source: ItemSource = source

    def send(self, *message: object) -> None:
        self.worker.send_bytes(encode(message))

    def give(self, *texts: str) -> None:
        self.send("items", pack_indexes(range(len(texts))), texts)

    def said(self) -> list[Message]:
        messages = []
        while self.worker.poll():
            messages.append(decode(self.worker.recv_bytes()))
        return messages

    def close(self) -> None:
        self.worker.close()
        self._child.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_who_has_an_item_alone_does_not_wait_for_another(ends: Ends) -> None:
    """A suspect comes with nothing beside it, and the worker says so; what comes after it is waited for again."""
    ends.give("suspect")
    ends.send("alone")
    assert ends.source.take(0) == Item(0, "suspect")

    began = time.monotonic()
    assert ends.source.take(60) is None
    assert time.monotonic() - began < 30

    ends.give("next", "after")
    assert ends.source.take(60) == Item(0, "next")
    assert ends.source.take(60) == Item(1, "after")
    later = threading.Timer(0.3, ends.give, ["late"])
    later.start()
    assert ends.source.take(60) == Item(0, "late")
    later.join()


def test_what_is_put_aside_is_out_of_hand(ends: Ends) -> None:
    """Not charged, and without time of its own, until it is resumed or has its result; the worker learns of it."""
    ends.give(*map(str, range(100)))
    for _ in range(100):
        ends.source.take(0)
    for index in range(99):
        ends.source.hold(index)
    assert list(ends.slots.in_hand()) == [99]

    ends.source.resume(5)
    assert sorted(ends.slots.in_hand()) == [5, 99]
    said = [ends.worker.recv_bytes() for _ in range(3)]
    assert said == [encode(("parked", count)) for count in (32, 64, 96)]


def test_numbers_come_as_their_range(ends: Ends) -> None:
    ends.send("numbers", pack_indexes(range(3)), (10, 40, 10))

    assert [ends.source.take(0) for _ in range(4)] == [Item(0, "10"), Item(1, "20"), Item(2, "30"), None]


def test_a_recall_returns_what_is_not_begun(ends: Ends) -> None:
    ends.give("a", "b", "c")
    assert ends.source.take(60) == Item(0, "a")
    ends.send("recall")
    ends.inbox.read()

    assert ends.source.take(0) is None
    assert ends.said() == [("returned", [1, 2])]
    assert list(ends.slots.in_hand()) == [0]


def test_the_next_program_closes_the_source_of_the_one_before(ends: Ends) -> None:
    """What it had not begun is not wanted any more."""
    ends.give("a", "b")
    ends.source.take(60)
    ends.send("program", "run-2", "task", {}, "o.jsonl", {}, "")

    following = ends.inbox.next_source()

    assert ends.source.closed
    assert ends.source.take(60) is None
    assert following is not None and following.program[0] == "run-2"
    ends.send("end")
    assert ends.inbox.next_source() is None
    assert following.closed


def test_results_free_their_items_and_what_was_parked_is_told_again(ends: Ends) -> None:
    ends.give(*map(str, range(40)))
    for _ in range(40):
        ends.source.take(0)
    for index in range(33):
        ends.source.hold(index)
    assert ends.said() == [("parked", 32)]

    ends.source.settle([Done(0, b"x"), Done(1, b"x"), Done(35, b"x")])

    results, parked = ends.said()
    assert results[0] == "results"
    assert parked == ("parked", 31)
    assert sorted(ends.slots.in_hand()) == [33, 34, 36, 37, 38, 39]


def test_a_task_has_no_more_items_in_hand_than_there_are_slots(ends: Ends) -> None:
    ends.give(*map(str, range(SLOTS + 5)))
    taken = [item for item in (ends.source.take(0) for _ in range(SLOTS + 5)) if item is not None]

    assert len(taken) == SLOTS - 1
    ends.source.settle([Done(0, b"x")])
    assert ends.source.take(0) == Item(SLOTS - 1, str(SLOTS - 1))


def test_all_that_has_come_is_done_in_a_series(ends: Ends) -> None:
    ends.give("a", "b")
    ends.source.do_all(lambda pair: pair[1].encode() if isinstance(pair[1], str) else b"")

    assert ends.slots.in_hand() == {}
    ends.outbox.flush()
    ((kind, packed, _, records, _, _),) = ends.said()
    assert (kind, list(packed), records) == ("results", [0, 1], b"ab")
    ends.source.do_all(lambda pair: b"")
    assert ends.said() == [], "nothing has come since"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_helper_serves_the_pipe_while_an_item_takes_long(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends finished results, and returns what is not begun, though the task's thread does not come back."""
    ends.give("slow", "waiting")
    ends.source.take(60)
    # It would end this process with the pipe.
    monkeypatch.setattr(os, "_exit", sys.exit)
    start_helper(ends.inbox, ends.outbox)
    (helper,) = [thread for thread in threading.enumerate() if thread.name == "sheaf-pipe"]
    ends.inbox.busy.set()
    ends.outbox.add(Done(7, b"x"))
    assert ends.worker.poll(60)
    assert ends.said()[0][0] == "results"

    ends.send("recall")

    assert ends.worker.poll(60)
    assert ends.said() == [("returned", [1])]
    ends.worker.close()
    helper.join(60)
    assert not helper.is_alive()


def test_the_helper_leaves_messages_to_the_tasks_thread_while_that_waits_for_them(ends: Ends) -> None:
    ends.inbox._waiting = True
    ends.give("a")
    ends.inbox.read_for_it()
    assert ends.worker.poll(0) is False and not ends.source._blocks

    ends.inbox._waiting = False
    ends.inbox.read_for_it()
    assert ends.source._blocks


class Ended(BaseException):
    """In place of the end of the process."""


@pytest.mark.parametrize("how", ["worker gone", "pipe closed"])
def test_without_its_worker_a_child_ends(ends: Ends, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    statuses: list[int] = []

    def end(status: int) -> NoReturn:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    if how == "worker gone":
        ends.worker.close()
    else:
        ends.worker.send_bytes(b"no message")

    with pytest.raises(Ended):
        ends.inbox.read()
    assert statuses == [0 if how == "worker gone" else PIPE_LOST]


def test_a_forked_copy_finds_its_source_closed(ends: Ends) -> None:
    ends.give("a")
    ends.inbox.read()

    ends.inbox.detach()

    assert ends.source.closed
    assert ends.source.take(60) is None
