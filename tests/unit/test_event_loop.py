"""What a pool hears of its children, and when."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.event_loop import Event, EventLoop
from tests.pool_child import make_child


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[ChildHandle, Any]]:
    child, process = make_child()
    yield child, process
    process.close()


def test_the_end_and_the_output_of_a_child_are_heard_until_they_are_forgotten(
    loop: EventLoop, pair: tuple[ChildHandle, Any]
) -> None:
    child, process = pair
    loop.add(child)
    assert loop.wait(0) == []
    os.write(process.print_to, b"hello")
    os.write(process.end_of_process, b"!")
    read = selectors.EVENT_READ
    assert set(loop.wait(5)) == {Event(child, child.stdout.descriptor, read), Event(child, child.sentinel, read)}
    loop.forget(child.stdout.descriptor, child.sentinel, child.channel.descriptor)
    assert loop.wait(0) == []


def test_messages_are_heard_only_while_they_are_read(loop: EventLoop, pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    process.theirs.send_bytes(b"anything")
    loop.listen(child, read=False)
    assert loop.wait(0) == []
    loop.listen(child, read=True)
    assert loop.wait(5) == [Event(child, child.channel.descriptor, selectors.EVENT_READ)]
    loop.listen(child, read=False)
    assert loop.wait(0) == []


def test_a_full_pipe_is_heard_of_when_it_takes_more(loop: EventLoop, pair: tuple[ChildHandle, Any]) -> None:
    child, process = pair
    child.channel.send(b"x" * (1 << 24))
    loop.listen(child, read=False)
    assert loop.wait(0) == []
    reader = threading.Thread(target=process.theirs.recv_bytes)
    reader.start()
    while reader.is_alive():
        for event in loop.wait(0.01):
            assert event.events == selectors.EVENT_WRITE
            child.channel.flush()
            loop.listen(child, read=False)
    assert not child.channel.sending
    assert loop.wait(0) == []


def test_any_thread_wakes_it(loop: EventLoop) -> None:
    thread = threading.Thread(target=loop.wake)
    thread.start()
    assert loop.wait(60) == []
    thread.join()


def test_a_closed_one_is_woken_without_harm(loop: EventLoop) -> None:
    other = EventLoop()
    other.close()
    other.wake()
