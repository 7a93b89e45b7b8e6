"""Lock, RLock and semaphores of `sheaf.multiprocessing`, between processes that are killed, too."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from sheaf.core.errors import ProgramEnded
from sheaf.multiprocessing.member import Member, Mode
from sheaf.multiprocessing.objects.event import Event
from sheaf.multiprocessing.objects.locks import BoundedSemaphore, Lock, LockBase, RLock, Semaphore
from sheaf.multiprocessing.objects.memory import Value
from sheaf.multiprocessing.program import process_ended
from tests.integration import peer_tasks
from tests.integration.peers import ProgramAtWork, WhenDone, sent

#: Seconds within which what is due has happened, on a busy machine.
SOON = 30


def test_a_lock_is_the_standards(work: ProgramAtWork) -> None:
    lock = Lock(work.member)
    assert lock.acquire()
    assert not lock.acquire(False)
    assert not lock.acquire(timeout=0.05)
    assert not lock.acquire(True, -1)
    assert lock.locked()
    lock.release()
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        lock.release()
    with lock:
        assert repr(lock) == "<Lock(owner=this thread)>"
    assert repr(lock) == "<Lock(owner=None)>"


def test_an_rlock_is_its_owners(work: ProgramAtWork) -> None:
    """A thread of a process: another thread, and the same thread of another process, cannot release it."""
    lock = RLock(work.member)
    there = sent(work.member, work.here("1"), lock)
    assert all(lock.acquire() for _ in range(3))
    assert not there.acquire(False)
    for other in (there.release, lambda: in_a_thread(lock.release)):
        with pytest.raises(AssertionError, match="not owned by thread"):
            other()
    for _ in range(3):
        lock.release()
    with pytest.raises(AssertionError):
        lock.release()
    assert there.acquire(False)


def test_a_semaphore_counts(work: ProgramAtWork) -> None:
    semaphore, bounded = Semaphore(work.member, 2), BoundedSemaphore(work.member, 1)
    assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]
    for _ in range(4):
        semaphore.release()
    assert semaphore.get_value() == 4
    with pytest.raises(ValueError, match="too many times"):
        bounded.release()
    with pytest.raises(ValueError, match="initial value"):
        Semaphore(work.member, -1)


def test_no_increment_under_a_lock_is_lost(work: ProgramAtWork) -> None:
    lock, value = Lock(work.member), Value(work.member, "i", 0, lock=False)
    peers = [work.start(peer_tasks.count_under_lock, lock, value, 100) for _ in range(4)]
    assert [peer.join() for peer in peers] == [0] * 4
    assert value.value == 400


def test_who_waits_is_woken(work: ProgramAtWork) -> None:
    """At once, and not when it looks by itself."""
    lock = Lock(work.member)
    there = sent(work.member, work.here("1"), lock)
    lock.acquire()
    waits = []

    def acquire() -> None:
        assert there.acquire(timeout=SOON)
        waits.append(time.monotonic() - released)
        there.release()

    for _ in range(5):
        thread = threading.Thread(target=acquire)
        thread.start()
        wait_until_waited_for(work, lock)
        released = time.monotonic()
        lock.release()
        thread.join(SOON)
        lock.acquire()
    assert min(waits) < 0.2


def test_who_has_waited_goes_before_newcomers(work: ProgramAtWork) -> None:
    """So none starves beside a process that acquires it again and again. One that does not come is passed over."""
    lock = Lock(work.member)
    there = work.here("1")
    while True:
        lock.acquire()
        with there.steps.client() as waiter:
            waiter("mp_lock", [lock._key], ["acquire", there.owner, Mode.WAIT, 1])
            # A newcomer would be as good as a waiter of less than 10 ms.
            time.sleep(0.05)
            released = time.monotonic()
            lock.release()
            passed_over = lock.acquire(False)
        if time.monotonic() - released < 0.4:
            break
        lock.release() if passed_over else None
    assert not passed_over
    assert lock.acquire(timeout=SOON)
    assert time.monotonic() - released >= 0.4


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_a_killed_holder_stops_nobody(
    work: ProgramAtWork, kind: Callable[[Member], LockBase], caplog: pytest.LogCaptureFixture
) -> None:
    """The next one has it, and gets to know; the one after that as if nothing had been."""
    lock, ready = kind(work.member), Event(work.member)
    peer = work.start(peer_tasks.hold, lock, ready)
    assert ready.wait(SOON)
    assert not lock.acquire(timeout=0.1)

    threading.Timer(0.1, peer.kill).start()
    with caplog.at_level(logging.WARNING, logger="sheaf"):
        assert lock.acquire(timeout=SOON)

    assert lock.owner_died
    assert "that a process had when it ended" in caplog.text
    assert not sent(work.member, work.here("9"), lock).acquire(False)
    lock.release()
    assert lock.acquire(timeout=SOON)
    assert not lock.owner_died


def test_a_lock_may_be_handed_over_by_a_process_that_ends(work: ProgramAtWork) -> None:
    """As in the standard: who released it need not be who acquired it. A semaphore that counts stays as it is."""
    lock, semaphore = Lock(work.member), Semaphore(work.member, 1)
    assert [work.start(peer_tasks.acquire_and_end, one).join() for one in (lock, semaphore)] == [0, 0]
    assert work.start(peer_tasks.release, lock).join() == 0
    with pytest.raises(ValueError, match="too many"):
        lock.release()
    assert not semaphore.acquire(False)
    semaphore.release()
    assert semaphore.get_value() == 1


def test_a_process_that_was_taken_for_dead_takes_nothing_back(work: ProgramAtWork) -> None:
    """One that was stopped for long, and goes on when another has its lock."""
    lock = Lock(work.member)
    stopped = sent(work.member, work.here("1"), lock)
    stopped.acquire()
    assert process_ended(work.connection, work.program.name, "1", killed=True)
    assert not process_ended(work.connection, work.program.name, "1", killed=True)
    assert lock.acquire(False)
    with pytest.raises(ProgramEnded, match="taken for dead"):
        stopped.release()
    assert lock.locked()


def test_a_stopped_waiter_is_passed_over(work: ProgramAtWork) -> None:
    """It is first in line, and does not come."""
    lock, ready, results = Lock(work.member), Event(work.member), work.manager.list()
    lock.acquire()
    peer = work.start(peer_tasks.hold, lock, ready)
    wait_until_waited_for(work, lock)
    peer.stop()
    time.sleep(0.05)
    lock.release()
    other = sent(work.member, work.here("8"), lock)
    assert other.acquire(timeout=SOON)
    peer.go_on()
    other.release()
    assert ready.wait(SOON)
    assert list(results) == []


def test_who_gives_up_leaves_the_line(work: ProgramAtWork) -> None:
    """By a timeout, or by an exception while it waits (Ctrl-C)."""
    lock = Lock(work.member)
    there = sent(work.member, work.here("1"), lock)
    lock.acquire()
    assert not there.acquire(timeout=0.05)
    assert waiting(work, lock) == 0

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    there._member._wait = interrupted
    with pytest.raises(KeyboardInterrupt):
        there.acquire()
    assert waiting(work, lock) == 0


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore])
def test_what_an_interrupted_call_acquired_is_released(
    work: ProgramAtWork, kind: Callable[[Member], LockBase], when_done: WhenDone
) -> None:
    """Ctrl-C may come when Redis has the step and its answer is not here."""
    lock = kind(work.member)
    there = sent(work.member, work.here("1"), lock)
    with when_done("mp_lock", KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        lock.acquire()
    assert there.acquire(False)


def in_a_thread(act: object) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001  it is raised in the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SOON)
    if failed:
        raise failed[0]


def waiting(work: ProgramAtWork, lock: LockBase) -> int:
    return int(work.connection.zcard(f"{lock._key}:w"))


def wait_until_waited_for(work: ProgramAtWork, lock: LockBase) -> None:
    deadline = time.monotonic() + SOON
    while not waiting(work, lock):
        assert time.monotonic() < deadline
        time.sleep(0.01)
