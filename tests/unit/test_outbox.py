"""When and how a child's results go to its worker."""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Iterator
from multiprocessing import Pipe
from typing import Any, NoReturn

import pytest

from sheaf.core import waits
from sheaf.run.items import Done, Failed
from sheaf_worker.child.outbox import Outbox
from sheaf_worker.wire.channel import Message, decode, unpack_indexes
from sheaf_worker.wire.exit_codes import PIPE_LOST
from sheaf_worker.wire.ring import RingReader, RingWriter
from sheaf_worker.wire.slots import SERIAL, SLOTS


class Ends:
    def __init__(self) -> None:
        self.worker, self.child = Pipe()
        self.ring, memory = RingReader.create(1 << 20)
        self.outbox = Outbox(self.child, RingWriter(memory))
        self.cells = memoryview(bytearray(16 * SLOTS)).cast("q")

    def sent(self) -> list[Message]:
        messages = []
        while self.worker.poll():
            messages.append(decode(self.worker.recv_bytes()))
        return messages

    def results(self) -> dict[int, Any]:
        """What the worker would make of all messages of results."""
        found: dict[int, Any] = {}
        for kind, packed, lengths, records, failures, _ in self.sent():
            assert kind == "results"
            sizes = array("Q", lengths).tolist()
            content = records if isinstance(records, bytes) else bytes(self.ring.borrow(records, sum(sizes))[0])
            for index, size in zip(unpack_indexes(packed), sizes, strict=True):
                found[index], content = content[:size], content[size:]
            found.update({index: (error, text, tries) for index, error, text, tries in failures})
        return found

    def do_all(self, *records: Any) -> None:
        given = iter(records)
        self.outbox.do_all(iter([(index, "") for index in range(len(records))]), lambda _: next(given), self.cells)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.worker.close()
    made.child.close()


def test_results_are_sent_together(ends: Ends) -> None:
    ends.outbox.add(Done(3, b"three"))
    ends.outbox.add(Failed(4, "ValueError", "no", 2))
    assert ends.sent() == []

    ends.outbox.flush()

    assert ends.results() == {3: b"three", 4: ("ValueError", "no", 2)}
    ends.outbox.flush()
    assert ends.sent() == [], "once"


def test_failures_alone_are_sent_too(ends: Ends) -> None:
    ends.outbox.add(Failed(4, "ValueError", "no", 1))
    ends.outbox.flush()

    assert ends.results() == {4: ("ValueError", "no", 1)}


def test_a_portion_is_sent_at_once_and_by_way_of_the_ring(ends: Ends) -> None:
    record = b"x" * (1 << 16)
    ends.outbox.add(Done(0, record))

    (message,) = ends.sent()
    assert isinstance(message[3], int), "its position in the ring"
    view, _ = ends.ring.borrow(message[3], len(record))
    assert bytes(view) == record


def test_a_full_ring_is_no_hindrance(ends: Ends) -> None:
    """Then the pipe takes the records."""
    record = b"x" * (1 << 16)
    for index in range(16):
        ends.outbox.add(Done(index, record))
        assert isinstance(ends.sent()[0][3], int)

    reader = threading.Thread(target=lambda: received.append(decode(ends.worker.recv_bytes())))
    received: list[Message] = []
    reader.start()
    ends.outbox.add(Done(16, record))
    reader.join(60)

    assert received[0][3] == record


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (Done(1, "text"), r"Done\(int, str\) as a result; it has to be Done\(int, bytes\)"),  # type: ignore[arg-type]
        (Done("1", b""), r"Done\(str, bytes\) as a result"),  # type: ignore[arg-type]
        (None, "NoneType as a result; it has to be Done or Failed"),
    ],
)
def test_what_is_no_result_is_refused(ends: Ends, result: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        ends.outbox.add(result)
    ends.outbox.flush()
    assert ends.sent() == []


def test_items_done_one_after_the_other_have_the_same_results(ends: Ends) -> None:
    """In fewer steps; the serial slot says which one is in hand."""
    ends.do_all(b"zero", Failed(1, "ValueError", "no", 1), b"x" * (1 << 17), b"three")
    assert ends.cells[SERIAL] == 3 + 1
    assert ends.worker.poll(), "a portion is sent at once here, too"
    ends.outbox.flush()

    assert ends.results() == {0: b"zero", 1: ("ValueError", "no", 1), 2: b"x" * (1 << 17), 3: b"three"}


def test_a_portion_counts_over_several_series(ends: Ends) -> None:
    half = b"x" * (ends.outbox._portion // 2)
    ends.do_all(half)
    assert not ends.worker.poll()
    ends.do_all(half)
    assert ends.worker.poll()


def test_what_is_no_record_is_refused_there_too(ends: Ends) -> None:
    with pytest.raises(TypeError, match="str as a result"):
        ends.do_all(b"zero", "one")
    assert ends.cells[SERIAL] == 1 + 1


def test_old_results_are_due(ends: Ends) -> None:
    ends.outbox.flush_if_due()
    assert ends.sent() == []
    ends.outbox.add(Done(0, b"x"))

    deadline = time.monotonic() + 60
    while not ends.worker.poll():
        assert time.monotonic() < deadline
        ends.outbox.flush_if_due()

    assert ends.results() == {0: b"x"}


def test_the_time_of_waiting_is_not_the_items(ends: Ends) -> None:
    """What an item takes decides how many are sent ahead."""
    ends.outbox.add(Done(0, b"x"))
    ends.outbox.waited_s = 1e6
    ends.outbox.flush()

    assert ends.sent()[0][5] == 0.0
    assert ends.outbox.waited_s == 0.0


def test_threads_that_wait_are_reported_when_their_number_changes(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    monkeypatch.setattr(waits, "lasting", lambda seconds: count)
    ends.outbox.report_waits()
    assert ends.sent() == []

    count = 2
    ends.outbox.report_waits()
    ends.outbox.report_waits()
    assert ends.sent() == [("waits", 2)]

    ends.outbox.add(Done(0, b"x"))
    ends.outbox.flush()
    ends.sent()
    ends.outbox.report_waits()
    assert ends.sent() == [("waits", 2)], "with results, the worker takes it that none waits any more"


def test_a_forked_copy_sends_nothing_of_the_original(ends: Ends) -> None:
    ends.outbox.add(Done(0, b"x"))
    ends.outbox.add(Failed(1, "ValueError", "no", 1))
    ends.outbox._lock.acquire()

    ends.outbox.detach()

    ends.outbox.flush()
    assert ends.sent() == []
    ends.outbox.add(Done(2, b"x" * (1 << 14)))
    ends.outbox.flush()
    assert isinstance(ends.sent()[0][3], bytes), "the ring is the original's"


class Ended(BaseException):
    """In place of the end of the process."""


def test_a_pipe_that_is_broken_ends_the_process(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task has closed it: its worker must not wait for what will never come."""
    statuses: list[int] = []

    def end(status: int) -> NoReturn:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    ends.child.close()

    with pytest.raises(Ended):
        ends.outbox.send("hello")
    assert statuses == [PIPE_LOST]
