"""A child's end of its pipe, as a task sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from sheaf.run.items import Item
from sheaf_worker.child.pipe import Inbox, ItemSource, Outbox
from sheaf_worker.wire.channel import encode, pack_indexes
from sheaf_worker.wire.ring import RingReader, RingWriter
from sheaf_worker.wire.slots import SlotReader, SlotWriter, new_slots


class Ends:
    """Both ends of a child's pipe, in one process."""

    def __init__(self) -> None:
        self.worker, child = Pipe()
        self._ring, memory = RingReader.create(1 << 20)
        shared = new_slots()
        self.slots = SlotReader(shared)
        slots = SlotWriter(shared)
        self.outbox = Outbox(child, RingWriter(memory))
        inbox = Inbox(child, self.outbox, slots)
        self._child: Connection = child
        self.send("program", "run", "task", {}, "o.jsonl", {}, "")
        source = inbox.next_source()
        assert source is not None
        self.source: ItemSource = source

    def send(self, *message: object) -> None:
        self.worker.send_bytes(encode(message))

    def give(self, *texts: str) -> None:
        self.send("items", pack_indexes(range(len(texts))), texts)

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
