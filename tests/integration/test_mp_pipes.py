"""Pipes of `sheaf.multiprocessing`: their ends in several processes, some of which are killed."""

from __future__ import annotations

import array
import gc
import queue
import threading
import time
from multiprocessing import BufferTooShort
from typing import Any

import pytest

from sheaf.core.errors import ValueNotSendable
from sheaf.multiprocessing.member import LARGE_BYTES
from sheaf.multiprocessing.objects import connection as connections
from sheaf.multiprocessing.objects.connection import Pipe
from sheaf.multiprocessing.objects.queues import Queue
from sheaf.multiprocessing.program import process_ended
from tests.integration import peer_tasks
from tests.integration.peers import ProgramAtWork, WhenDone, sent

SOON = 60


def test_messages_go_both_ways(work: ProgramAtWork) -> None:
    """And the program may close the other process's end at once, before that has got it."""
    ours, theirs = Pipe(work.member)
    peer = work.start(peer_tasks.echo, theirs)
    theirs.close()
    for message in (1, (2, {"a"}), b"x" * (LARGE_BYTES + 1), "é"):
        ours.send(message)
        assert ours.recv() == message
    ours.send(None)
    assert peer.join() == 0
    assert ours.poll(SOON)
    with pytest.raises(EOFError):
        ours.recv()


def test_one_way(work: ProgramAtWork) -> None:
    reader, writer = Pipe(work.member, duplex=False)
    assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
    writer.send(1)
    assert reader.recv() == 1
    with pytest.raises(OSError, match="connection is read-only"):
        reader.send(2)
    for act in (writer.recv, writer.poll):
        with pytest.raises(OSError, match="connection is write-only"):
            act()


def test_the_end_comes_after_the_last_message(work: ProgramAtWork) -> None:
    """Also when the process that sent them was killed, and also for who waits already."""
    results = Queue(work.member)
    reader, writer = Pipe(work.member, duplex=False)
    sender = work.start(peer_tasks.send_and_end, writer, "one", "two")
    receiver = work.start(peer_tasks.receive_into, reader, results)
    writer.close()
    assert [results.get(timeout=SOON) for _ in range(2)] == ["one", "two"]
    assert sender.join() == receiver.join() == 0
    assert results.get(timeout=SOON) == "end"


def test_a_killed_process_closes_its_ends(work: ProgramAtWork) -> None:
    ours, theirs = Pipe(work.member)
    peer = work.start(peer_tasks.echo, theirs)
    theirs.close()
    ours.send("alive")
    assert ours.recv() == "alive"
    threading.Timer(0.2, peer.kill).start()
    with pytest.raises(EOFError, match="no process has the other end"):
        ours.recv()
    with pytest.raises(BrokenPipeError):
        ours.send(1)
    assert ours.poll()


def test_a_process_that_never_came_has_its_end_open_until_it_has_ended(work: ProgramAtWork) -> None:
    """It was being started when it was killed."""
    ours, theirs = Pipe(work.member)
    packed = work.member.pack(theirs, "77")
    theirs.close()
    assert not ours.poll(0.05)
    assert packed.held
    process_ended(work.connection, work.program.name, "77", killed=True)
    with pytest.raises(EOFError):
        ours.recv()


def test_an_end_may_be_sent_through_a_queue_or_a_pipe(work: ProgramAtWork) -> None:
    """It is open while it is on its way, once for each that has it, however often it is in the value."""
    values = Queue(work.member)
    ours, theirs = Pipe(work.member)
    values.put({"end": theirs, "again": [theirs, {1, 2}]})
    theirs.close()
    assert not ours.poll(0.05)
    there = sent(work.member, work.here("1"), values).get()
    assert there["end"] is there["again"][0]
    there["end"].send("here")
    assert ours.recv() == "here"
    there["end"].close()
    there["end"].close()
    with pytest.raises(EOFError):
        ours.recv()


def test_what_was_not_sent_after_all_is_not_on_its_way(work: ProgramAtWork) -> None:
    values = Queue(work.member, 1)
    ours, theirs = Pipe(work.member)
    values.put(1)
    with pytest.raises(queue.Full):
        values.put(theirs, False)
    theirs.close()
    with pytest.raises(EOFError):
        ours.recv()


def test_a_forgotten_end_is_closed(work: ProgramAtWork) -> None:
    """As an unreferenced file descriptor is."""
    ours, theirs = Pipe(work.member)
    del theirs
    gc.collect()
    with pytest.raises(EOFError):
        ours.recv()


def test_a_closed_end_is_closed(work: ProgramAtWork) -> None:
    ours, _theirs = Pipe(work.member)
    with ours:
        assert ours.closed is False
    assert vars(ours)["_closed"]
    ours.close()
    for act in (ours.recv, ours.poll, lambda: ours.send(1), ours.fileno):
        with pytest.raises(OSError, match="handle is closed"):
            act()
    with pytest.raises(ValueNotSendable, match="handle is closed"):
        work.member.pack(ours)


def test_bytes_are_sent_as_they_are(work: ProgramAtWork) -> None:
    a, b = Pipe(work.member)
    letters = b"abcdefghijklmnopqrstuvwxyz"
    for arguments, expected in {(5,): letters[5:], (7, 8): letters[7:15], (26,): b"", (26, 0): b""}.items():
        a.send_bytes(letters, *arguments)
        assert b.recv_bytes() == expected
    for wrong in ((27,), (22, 5), (26, 1), (-1,), (4, -1)):
        with pytest.raises(ValueError, match=r"offset|size"):
            a.send_bytes(letters, *wrong)
    numbers = array.array("i", range(4))
    a.send_bytes(numbers)
    room = array.array("i", [0] * 10)
    assert b.recv_bytes_into(room, 3 * room.itemsize) == 4 * room.itemsize
    assert list(room) == [0, 0, 0, 0, 1, 2, 3, 0, 0, 0]
    a.send_bytes(letters)
    with pytest.raises(BufferTooShort) as short:
        b.recv_bytes_into(bytearray(10))
    assert short.value.args == (letters,)
    a.send_bytes(letters)
    with pytest.raises(OSError, match="bad message length"):
        b.recv_bytes(10)
    assert not b.readable


def test_poll_takes_nothing(work: ProgramAtWork) -> None:
    a, b = Pipe(work.member)
    started = time.monotonic()
    assert not b.poll()
    assert not b.poll(-1)
    assert not b.poll(0.1)
    assert time.monotonic() - started >= 0.1
    threading.Timer(0.1, a.send_bytes, [b""]).start()
    assert b.poll(SOON)
    assert b.poll(None)
    assert b.recv_bytes() == b""


def test_what_an_interrupted_recv_took_is_put_back(work: ProgramAtWork, when_done: WhenDone) -> None:
    a, b = Pipe(work.member)
    for message in ("one", "two"):
        a.send(message)
    with when_done("mp_receive", KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        b.recv()
    assert [b.recv(), b.recv()] == ["one", "two"]


def test_wait_gives_those_that_are_ready(work: ProgramAtWork) -> None:
    pairs = [Pipe(work.member) for _ in range(3)]
    readers = [reader for reader, _ in pairs]
    assert connections.wait(readers, 0) == connections.wait(readers, 0.05) == []
    threading.Timer(0.1, pairs[1][1].send, [1]).start()
    assert connections.wait(readers, SOON) == [readers[1]]
    pairs[2][1].close()
    assert connections.wait(readers) == readers[1:]
    assert connections.wait([], 0.01) == []
    unknown: Any = [threading.Event()]
    with pytest.raises(TypeError, match="cannot be waited for"):
        connections.wait(unknown)
