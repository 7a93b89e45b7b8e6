"""The worker's end of a child's pipe: it never blocks, whatever the child does or does not do."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from sheaf.core.errors import TaskError
from sheaf_worker.wire.channel import Channel, decode, encode, encode_program
from tests.pool_child import RUN, with_spec

LARGE = ("items", (0,), ("x" * (1 << 20),))


class Ends:
    def __init__(self) -> None:
        ours, self.child = Pipe(duplex=True)
        self.channel = Channel(ours)

    def raw(self, content: bytes) -> None:
        os.write(self.child.fileno(), content)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.channel.close()
    if not made.child.closed:
        made.child.close()


def framed(*message: object) -> bytes:
    frame = encode(message)
    return struct.pack(">i", len(frame)) + frame


def test_messages_come_one_by_one_or_together(ends: Ends) -> None:
    ends.raw(framed("hello"))
    assert ends.channel.receive() == [("hello",)]
    ends.raw(framed("waits", 1) + framed("waits", 2))
    assert ends.channel.receive() == [("waits", 1), ("waits", 2)]
    assert ends.channel.receive() == []


def test_a_message_in_pieces_is_complete_with_its_last_one(ends: Ends) -> None:
    content = framed("refused", "TaskError", "no such function")
    for byte in content[:-1]:
        ends.raw(bytes([byte]))
        assert ends.channel.receive() == []

    ends.raw(content[-1:])

    assert ends.channel.receive() == [("refused", "TaskError", "no such function")]


@pytest.mark.parametrize("head", [struct.pack(">i", len(encode(LARGE))), struct.pack(">iQ", -1, len(encode(LARGE)))])
def test_a_large_message_gets_a_buffer_and_gives_it_back(ends: Ends, head: bytes) -> None:
    """Both heads that a Connection writes."""
    content = head + encode(LARGE) + framed("waits", 1)
    messages: list[object] = []
    for start in range(0, len(content), 1 << 15):
        ends.raw(content[start : start + (1 << 15)])
        messages += ends.channel.receive()
        messages += ends.channel.receive()

    assert messages == [LARGE, ("waits", 1)]
    ends.raw(framed("waits", 2))
    assert ends.channel.receive() == [("waits", 2)]
    assert len(ends.channel._view) == 1 << 18


def test_what_the_child_does_not_read_waits_here(ends: Ends) -> None:
    """A stopped child: send() returns at once, and flush() goes on when there is room."""
    frames = [encode(LARGE), encode(("recall",))]
    for frame in frames:
        ends.channel.send(frame)
    assert ends.channel.sending

    received: list[object] = []
    while len(received) < 2:
        if ends.child.poll(0):
            received.append(recv(ends))
        ends.channel.flush()

    assert received == [LARGE, ("recall",)]
    assert not ends.channel.sending


def recv(ends: Ends) -> object:
    """One message, while the worker's end goes on sending."""
    os.set_blocking(ends.child.fileno(), False)
    content = b""
    size = None
    while size is None or len(content) < 4 + size:
        try:
            content += os.read(ends.child.fileno(), (4 if size is None else 4 + size) - len(content))
        except BlockingIOError:
            ends.channel.flush()
        if size is None and len(content) == 4:
            (size,) = struct.unpack(">i", content)
    return decode(content[4:])


def test_a_child_that_is_gone_takes_nothing_and_gives_what_it_had_said(ends: Ends) -> None:
    ends.raw(framed("waits", 1) + framed("waits", 2)[:-1])
    ends.child.close()

    ends.channel.send(encode(("recall",)))

    assert not ends.channel.sending
    assert ends.channel.drain() == [("waits", 1)], "the second one was cut off by its death"
    with pytest.raises(EOFError):
        ends.channel.receive()


@pytest.mark.parametrize(
    "content", [b"hello from a task\n" * 4, b"\0" * 64, struct.pack(">i", 1 << 30) + b"(\xff\xff\xff\xff"]
)
def test_what_is_no_message_is_not_waited_for(ends: Ends, content: bytes) -> None:
    """A task has written into the pipe: its text names a length that would never come."""
    ends.raw(framed("waits", 1) + content)

    with pytest.raises(ValueError, match="not a message"):
        while True:
            ends.channel.receive()


def test_options_that_are_not_plain_values_are_refused_with_their_run() -> None:
    odd = with_spec(RUN, options={"when": Connection})

    with pytest.raises(TaskError, match=r"options of run 'run-1' hold something that is not JSON"):
        encode_program(odd)
