"""Queue, SimpleQueue and JoinableQueue of `sheaf.multiprocessing`, between processes that are killed, too."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from typing import Any

import pytest

from sheaf.core.errors import ItemsAbandoned, RedisFull, ValueNotSendable
from sheaf.multiprocessing import member
from sheaf.multiprocessing.member import LARGE_BYTES
from sheaf.multiprocessing.objects.connection import Pipe
from sheaf.multiprocessing.objects.event import Event
from sheaf.multiprocessing.objects.locks import Lock
from sheaf.multiprocessing.objects.queues import JoinableQueue, Queue, SimpleQueue
from sheaf.multiprocessing.program import process_ended
from tests.integration import peer_tasks
from tests.integration.peer_tasks import Site
from tests.integration.peers import ProgramAtWork, WhenDone, sent

SOON = 60


def test_values_come_out_as_they_went_in(work: ProgramAtWork) -> None:
    """In their order; instances of the program's own classes, and what is shared, too."""
    values = Queue(work.member)
    nested = Queue(work.member)
    sent_values: list[Any] = [1, (1, {2}), b"\xff", {"a": [None]}, Site("a", (1, 2)), nested, Lock(work.member)]
    peer = work.start(peer_tasks.put_all, values, *sent_values)
    assert peer.join() == 0
    taken = [values.get(timeout=SOON) for _ in sent_values]
    assert taken[:5] == sent_values[:5]
    taken[5].put("through it")
    assert nested.get() == "through it"
    assert taken[6].acquire()
    assert not sent_values[6].acquire(False)


def test_a_full_queue_holds_up_puts_and_an_empty_one_gets(work: ProgramAtWork) -> None:
    values = Queue(work.member, maxsize=2)
    there = sent(work.member, work.here("1"), values)
    values.put(1)
    assert (values.full(), values.empty(), values.qsize()) == (False, False, 1)
    values.put_nowait(2)
    assert there.full()
    puts: list[tuple[Any, ...]] = [(3, False), (3, True, 0.05), (3, True, -1)]
    for arguments in puts:
        with pytest.raises(queue.Full):
            values.put(*arguments)
    with pytest.raises(queue.Full):
        values.put_nowait(3)
    threading.Timer(0.2, there.get).start()
    values.put(3, timeout=SOON)
    assert [there.get(), there.get()] == [2, 3]
    gets: list[tuple[bool, float | None]] = [(False, None), (True, 0.05), (True, -1)]
    for get in gets:
        with pytest.raises(queue.Empty):
            values.get(*get)
    with pytest.raises(queue.Empty):
        values.get_nowait()
    threading.Timer(0.2, there.put, ["late"]).start()
    assert values.get(timeout=SOON) == "late"


def test_a_closed_queue_is_closed_here_only(work: ProgramAtWork) -> None:
    values = Queue(work.member)
    there = sent(work.member, work.here("1"), values)
    with pytest.raises(AssertionError, match="not closed"):
        values.join_thread()
    values.close()
    values.join_thread()
    values.cancel_join_thread()
    for act in (lambda: values.put(1), values.get):
        with pytest.raises(ValueError, match="is closed"):
            act()
    there.put(1)
    assert there.get() == 1
    simple = SimpleQueue(work.member)
    simple.put("x")
    assert (simple.empty(), simple.get(), simple.empty()) == (False, "x", True)
    simple.close()
    with pytest.raises(OSError, match="handle is closed"):
        simple.put(1)


def test_what_cannot_be_sent_is_an_error_of_put(work: ProgramAtWork) -> None:
    values = Queue(work.member)
    with pytest.raises(ValueNotSendable):
        values.put(threading.Lock())
    assert values.empty()


def test_large_values_go_beside_the_queue(work: ProgramAtWork) -> None:
    """And nothing is left of them when they were taken, or could not be put."""
    values = Queue(work.member, maxsize=1)
    there = sent(work.member, work.here("1"), values)
    for size in (LARGE_BYTES - 100, LARGE_BYTES + 1, 20_000_000):
        values.put(b"x" * size)
        with pytest.raises(queue.Full):
            values.put(b"y" * size, timeout=0.01)
        assert there.get() == b"x" * size
    found: Any = work.connection.keys(work.member.key("v:*"))
    assert found == []
    held: Any = work.connection.smembers(work.member.key("keys"))
    assert not [name for name in held if b":v:" in name]


def test_a_large_value_that_was_put_does_not_expire(work: ProgramAtWork) -> None:
    """Neither one that is in a queue nor one that is in a pipe."""
    values, ends = Queue(work.member), Pipe(work.member)
    values.put(b"x" * (LARGE_BYTES + 1))
    ends[0].send(b"x" * (LARGE_BYTES + 1))
    large: Any = work.connection.keys(work.member.key("v:*"))
    assert [work.connection.ttl(name) for name in large] == [-1, -1]


def test_a_full_redis_says_so(work: ProgramAtWork) -> None:
    """What is there can still be taken, waited for and released, and then there is room again."""
    values = Queue(work.member)
    values.put(b"x" * 100_000)
    lock, event, ends = Lock(work.member), Event(work.member), Pipe(work.member)
    ends[0].send("sent before")
    there = sent(work.member, work.here("1"), lock)
    used: Any = work.connection.info("memory")
    work.connection.config_set("maxmemory", used["used_memory"] - 50_000)
    try:
        for size in (1000, LARGE_BYTES + 1):
            with pytest.raises(RedisFull, match="raise its maxmemory or let the queue drain"):
                values.put(b"y" * size)
            with pytest.raises(RedisFull):
                ends[0].send(b"y" * size)
        event.set()
        assert there.acquire(timeout=SOON)
        assert process_ended(work.connection, work.program.name, "1", killed=True)
        assert lock.acquire(timeout=SOON)
        assert ends[1].recv() == "sent before"
        assert len(values.get(timeout=SOON)) == 100_000
    finally:
        work.connection.config_set("maxmemory", 0)
    values.put(1)
    assert values.get() == 1


def test_a_killed_consumer_keeps_nothing_from_others(work: ProgramAtWork) -> None:
    """Killed while it waits in `get`: what is put then goes to another. In the standard it holds the queue's lock."""
    values, ready, results = Queue(work.member), Event(work.member), Queue(work.member)
    peer = work.start(peer_tasks.get_with_ready, values, ready, results)
    assert ready.wait(SOON)
    wait_until_waited_for(work, values)
    peer.kill()
    assert work.connection.zcard(f"{values._key}:w") == 0
    values.put("for others")
    assert values.get(timeout=SOON) == "for others"


def test_a_stopped_consumer_keeps_nothing_from_others_for_long(work: ProgramAtWork) -> None:
    """It is called, and does not come."""
    values, ready, results = Queue(work.member), Event(work.member), Queue(work.member)
    peer = work.start(peer_tasks.get_with_ready, values, ready, results)
    assert ready.wait(SOON)
    wait_until_waited_for(work, values)
    peer.stop()
    other = threading.Thread(target=lambda: results.put(sent(work.member, work.here("8"), values).get()))
    other.start()
    values.put("one")
    other.join(SOON)
    assert results.get(timeout=SOON) == "one"
    peer.go_on()
    values.put("two")
    assert results.get(timeout=SOON) == "two"


def test_a_producer_may_end_at_once(work: ProgramAtWork) -> None:
    """What it has put is there, however much: it can be joined before the queue is read."""
    values = Queue(work.member)
    assert work.start(peer_tasks.put_all, values, *[b"x" * 100_000] * 20).join() == 0
    assert [len(values.get(False)) for _ in range(20)] == [100_000] * 20


def test_join_waits_until_all_is_done(work: ProgramAtWork) -> None:
    values = JoinableQueue(work.member)
    there = sent(work.member, work.here("1"), values)
    values.join()
    for number in range(3):
        values.put(number)
    joined = threading.Event()

    def join() -> None:
        values.join()
        joined.set()

    thread = threading.Thread(target=join)
    thread.start()
    for _ in range(3):
        there.get()
        assert not joined.is_set()
        there.task_done()
    thread.join(SOON)
    assert joined.is_set()
    with pytest.raises(ValueError, match="called too many times"):
        values.task_done()


def test_join_says_that_who_took_a_value_has_ended(work: ProgramAtWork) -> None:
    """The standard waits for ever."""
    values, ready = JoinableQueue(work.member), Event(work.member)
    values.put("lost")
    peer = work.start(peer_tasks.get_and_hang, values, ready)
    assert ready.wait(SOON)
    threading.Timer(0.2, peer.kill).start()
    with pytest.raises(ItemsAbandoned, match="1 of the values that were taken out of"):
        values.join()
    values.task_done()
    values.join()


def test_who_gives_up_passes_the_call_on(work: ProgramAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is called for a value and is interrupted before it takes it: the next is called, and need not look itself."""
    monkeypatch.setattr(member, "LOOK_S", 10 * SOON)
    values, results = Queue(work.member), Queue(work.member)
    first, second = (sent(work.member, work.here(name), values) for name in "12")
    thread = threading.Thread(target=lambda: results.put(second.get()))

    def interrupted(attempt: Any, names: object, timeout: object, client: Any) -> None:
        attempt(client, member.Mode.WAIT)
        thread.start()
        wait_until_waited_for(work, values, 2)
        values.put("value")
        raise KeyboardInterrupt

    first._member._wait = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.get()
    assert results.get(timeout=SOON) == "value"
    thread.join(SOON)


@pytest.mark.parametrize("size", [1, LARGE_BYTES + 1])
def test_what_an_interrupted_get_took_is_put_back(work: ProgramAtWork, size: int, when_done: WhenDone) -> None:
    """Ctrl-C may come when Redis has given the value and it is not here; it stays the first."""
    values = JoinableQueue(work.member)
    for letter in (b"\n", b"\0"):
        values.put(letter * size)
    with when_done("mp_take", KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        values.get()
    assert [values.get(False) for _ in range(2)] == [b"\n" * size, b"\0" * size]
    for _ in range(2):
        values.task_done()
    values.join()


def test_a_large_value_waits_for_room_for_long(work: ProgramAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not expire as long as its process is there."""
    monkeypatch.setattr(member, "_LARGE_EXPIRES_MS", 500)
    monkeypatch.setattr(member, "LOOK_S", 0.1)
    values = Queue(work.member, 1)
    values.put(1)
    threading.Timer(1.0, values.get).start()
    values.put(b"x" * (LARGE_BYTES + 1), timeout=SOON)
    assert len(values.get()) == LARGE_BYTES + 1


def test_no_value_is_lost_or_given_twice_while_processes_are_killed(work: ProgramAtWork) -> None:
    """Each number that was put is taken once, except for those that a killed process was just given."""
    count = 60
    values, given, taken = Queue(work.member), work.manager.list(), work.manager.list()
    peers = [work.start(peer_tasks.traffic, values, given, taken, seed, count) for seed in range(5)]
    for number, peer in enumerate(peers[:2]):
        wait_until(lambda least=20 * (number + 1): len(taken) >= least)
        peer.kill()
    for peer in peers[2:]:
        assert peer.join() == 0
    left = []
    while not values.empty():
        left.append(values.get(False))
    found = Counter([*map(tuple, taken), *left])
    assert max(found.values()) == 1
    put = Counter(map(tuple, given))
    assert not set(found) - set(put)
    # A killed process may be between two steps: it has noted a number that it did not put, or not yet one that it took.
    assert sum((put - found).values()) <= 4
    for seed in range(2, 5):
        assert {number for owner, number in put if owner == seed} == set(range(count))


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_waited_for(work: ProgramAtWork, values: Queue, by: int = 1) -> None:
    wait_until(lambda: int(work.connection.zcard(f"{values._key}:w")) >= by)
