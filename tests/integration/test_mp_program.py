"""A program of `sheaf.multiprocessing` in Redis: its lease, its end, and what is left of it then."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sheaf.broker import keys
from sheaf.core.errors import ProgramEnded, RedisUnavailable
from sheaf.multiprocessing import member, steps
from sheaf.multiprocessing.member import LARGE_BYTES
from sheaf.multiprocessing.objects.barrier import Barrier
from sheaf.multiprocessing.objects.condition import Condition
from sheaf.multiprocessing.objects.connection import Pipe
from sheaf.multiprocessing.objects.event import Event
from sheaf.multiprocessing.objects.locks import Lock, RLock, Semaphore
from sheaf.multiprocessing.objects.memory import Array, Value
from sheaf.multiprocessing.objects.queues import JoinableQueue, Queue
from sheaf.multiprocessing.program import Program, process_ended, sweep_programs
from tests.integration.peers import ProgramAtWork, sent
from tests.support import RedisServer

ROOT = Path(__file__).parents[2]
SOON = 60


def use_everything(work: ProgramAtWork) -> None:
    """One of each kind, with something in it, and used by two processes."""
    own, there = work.member, work.here("1")
    shared = (Lock(own), RLock(own), Semaphore(own), Event(own), Condition(own), Barrier(own, 2))
    lock, rlock, semaphore, event, condition, _ = sent(own, there, shared)
    for one in (lock, rlock, semaphore, condition):
        one.acquire()
    event.set()
    condition.wait(0.01)
    queue, ends = Queue(own), Pipe(own)
    for value in (1, b"x" * (LARGE_BYTES + 1)):
        queue.put(value)
        ends[0].send(value)
    JoinableQueue(own).put(ends[1])
    sent(own, there, queue).get()
    Value(own, "i", 3).value = 4
    Array(own, "d", [1.5, 2])[1] = 3
    work.manager.dict(a=work.manager.list([1, 2])).update({"b": (1, 2)})
    work.manager.Namespace(x=1)


def names(work: ProgramAtWork) -> set[str]:
    found: list[bytes] = work.connection.keys("*")  # type: ignore[assignment]
    return {name.decode() for name in found}


def test_nothing_is_left_of_a_program_that_has_ended(work: ProgramAtWork) -> None:
    use_everything(work)
    assert len(names(work)) > 30
    work.program.close()
    work.program.close()
    assert names(work) == set()


def test_nothing_is_left_of_a_program_that_was_killed(work: ProgramAtWork) -> None:
    """Its lease runs out, and a worker removes what it has. Others are not touched."""
    other = Program(work.connection)
    use_everything(work)
    assert sweep_programs(work.connection) == []
    work.program._over.set()
    work.connection.zadd(keys.MP_PROGRAMS, {work.program.name: 1})

    assert sweep_programs(work.connection) == [work.program.name]

    assert names(work) == {keys.MP_PROGRAMS}
    assert work.connection.zrange(keys.MP_PROGRAMS, 0, -1) == [other.name.encode()]
    other.close()
    assert names(work) == set()


def test_what_comes_after_the_end_leaves_nothing(work: ProgramAtWork) -> None:
    """A process that outlives its program cannot put anything where nothing would remove it."""
    queue, event = Queue(work.member), Event(work.member)
    left, right = Pipe(work.member)
    there = work.here("1")
    work.program.close()
    for act in (
        lambda: queue.put(1),
        lambda: queue.put(b"x" * (LARGE_BYTES + 1)),
        queue.get,
        event.set,
        lambda: left.send(1),
        right.recv,
        lambda: Lock(there),
    ):
        with pytest.raises(ProgramEnded, match="has ended"):
            act()
    left._closed = right._closed = True
    assert names(work) == set()


def test_a_waiter_learns_that_the_program_has_ended(work: ProgramAtWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called, and need not look itself."""
    monkeypatch.setattr(member, "LOOK_S", 10 * SOON)
    queue = sent(work.member, work.here("1"), Queue(work.member))
    started = time.monotonic()
    threading.Timer(0.2, work.program.close).start()
    with pytest.raises(ProgramEnded):
        queue.get()
    assert time.monotonic() - started < 20


def test_the_lease_is_renewed(redis_server: RedisServer) -> None:
    with redis_server.client() as connection:
        program = Program(connection, lease_s=1.0)
        time.sleep(2.0)
        assert sweep_programs(connection) == []
        assert not program.lost
        connection.delete(keys.MP_PROGRAMS)
        deadline = time.monotonic() + 30
        while not vars(program)["lost"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        program.close()


def test_objects_of_two_programs_do_not_meet(programs: Callable[[], ProgramAtWork]) -> None:
    """Also when one knows the other's names: a reference names an object of its own program."""
    one, other = programs(), programs()
    queue = Queue(one.member)
    queue.put("one")
    stranger = other.member.unpack(one.member.pack(queue).data)
    with pytest.raises(ProgramEnded, match="object is not there"):
        stranger.get(False)
    assert queue.get() == "one"


def test_a_process_that_has_ended_leaves_only_its_mark(work: ProgramAtWork) -> None:
    lock = Lock(work.member)
    there = sent(work.member, work.here("1"), lock)
    before = names(work)
    there.acquire()
    there.release()
    process_ended(work.connection, work.program.name, "1", killed=False)
    assert names(work) - before == {keys.of_program(work.program.name, keys.MP_ENDED)}


def test_a_deleted_object_is_gone(work: ProgramAtWork) -> None:
    queue = Queue(work.member)
    queue.put(1)
    queue.delete()
    with pytest.raises(ProgramEnded, match="deleted"):
        queue.put(2)
    assert not any(queue._key in name for name in names(work))


def test_a_short_outage_is_waited_through(programs: Callable[[], ProgramAtWork], own_redis_server: RedisServer) -> None:
    """Also by who waits. What was shared is in Redis's file."""
    work = ProgramAtWork(own_redis_server.url)
    queue = Queue(work.member)
    queue.put("before")
    own_redis_server_synced(work)
    taken: list[object] = []
    waiter = threading.Thread(target=lambda: taken.extend([queue.get(), queue.get()]))

    own_redis_server.kill()
    waiter.start()
    time.sleep(0.5)
    own_redis_server.start()
    queue.put("after")

    waiter.join(60)
    assert taken == ["before", "after"]
    work.close()


def test_a_long_outage_is_an_error_that_says_so(own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PATIENCE_S", 0.3)
    work = ProgramAtWork(own_redis_server.url)
    queue = Queue(work.member)
    own_redis_server.kill()
    with pytest.raises(RedisUnavailable, match=r"not reachable.*waited 0.3 s"):
        queue.get()
    own_redis_server.start()
    work.close()


def test_a_program_may_end_when_redis_is_gone(own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    work = ProgramAtWork(own_redis_server.url)
    own_redis_server.kill()
    with caplog.at_level(logging.WARNING, logger="sheaf"):
        work.program.close()
    assert "A worker does when its lease has run out" in caplog.text
    own_redis_server.start()
    work.close()


def test_a_fork_of_the_program_does_not_disturb_it(work: ProgramAtWork) -> None:
    """It can use what is shared, waits with a listener of its own, and does not end the program with itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, work.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("child got 1\nparent got 2\n", "", 0)
    assert names(work) == {keys.MP_PROGRAMS}


#: A program that waits, forks, and waits again, as does its child.
FORKS = """
import os, sys, threading
from tests.integration.peers import ProgramAtWork
from sheaf.multiprocessing.objects.queues import Queue
work = ProgramAtWork(sys.argv[1])
numbers, answers = Queue(work.member), Queue(work.member)
threading.Timer(0.1, numbers.put, [0]).start()
numbers.get()
child = os.fork()
if child == 0:
    answers.put("ready")
    print("child got", numbers.get(), flush=True)
    answers.put(2)
    work.program.close()
    os._exit(0)
answers.get()
numbers.put(1)
os.waitpid(child, 0)
print("parent got", answers.get(), flush=True)
work.close()
"""


def own_redis_server_synced(work: ProgramAtWork) -> None:
    """Its append-only file is written once a second."""
    time.sleep(1.5)
