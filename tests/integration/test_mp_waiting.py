"""Event, Condition and Barrier of `sheaf.multiprocessing`, between processes that are killed, too."""

from __future__ import annotations

import threading
import time
from threading import BrokenBarrierError

import pytest

from sheaf.multiprocessing.objects.barrier import Barrier
from sheaf.multiprocessing.objects.condition import Condition
from sheaf.multiprocessing.objects.event import Event
from sheaf.multiprocessing.objects.locks import Lock, RLock, Semaphore
from sheaf.multiprocessing.objects.queues import Queue
from tests.integration import peer_tasks
from tests.integration.peers import Peer, ProgramAtWork, sent

SOON = 60


def test_an_event_lets_through_who_waits(work: ProgramAtWork) -> None:
    event = Event(work.member)
    there = sent(work.member, work.here("1"), event)
    assert (event.is_set(), event.wait(0), event.wait(0.05)) == (False, False, False)
    threading.Timer(0.1, there.set).start()
    assert event.wait(SOON)
    assert (event.is_set(), event.wait(), "set>" in repr(there)) == (True, True, True)
    event.clear()
    assert not there.wait(0.01)


def test_who_waits_for_an_event_gets_to_know_of_a_short_one(work: ProgramAtWork) -> None:
    """Set and cleared at once, as with `threading`."""
    event = Event(work.member)
    there = sent(work.member, work.here("1"), event)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(there.wait(SOON)))
    thread.start()
    until(lambda: int(work.connection.zcard(f"{event._key}:w")) == 1)
    event.set()
    event.clear()
    thread.join(SOON)
    assert results == [True]


def waiters(work: ProgramAtWork, condition: Condition, count: int) -> tuple[list[Peer], Queue]:
    """Processes that wait at the condition, all of them."""
    ready, results = Semaphore(work.member, 0), Queue(work.member)
    peers = [work.start(peer_tasks.wait_under, condition, ready, results) for _ in range(count)]
    for _ in range(count):
        assert ready.acquire(timeout=SOON)
    with condition:
        until(lambda: tickets(condition) == count)
    return peers, results


def tickets(condition: Condition) -> int:
    return int(repr(condition).rpartition(", ")[2].rstrip(")>"))


def test_notify_wakes_as_many_as_it_says(work: ProgramAtWork) -> None:
    condition = Condition(work.member)
    peers, results = waiters(work, condition, 3)
    with condition:
        condition.notify()
    assert results.get(timeout=SOON) is True
    with condition:
        assert tickets(condition) == 2
        condition.notify_all()
    assert [results.get(timeout=SOON) for _ in range(2)] == [True, True]
    assert [peer.join() for peer in peers] == [0, 0, 0]
    with condition:
        condition.notify(5)


def test_notify_goes_to_no_ghost(work: ProgramAtWork) -> None:
    """One of two who wait is killed: the one notification is for the other, and notify_all() does not hang."""
    condition = Condition(work.member)
    peers, results = waiters(work, condition, 2)
    peers[0].kill()
    with condition:
        assert tickets(condition) == 1
        condition.notify()
    assert results.get(timeout=SOON) is True
    assert peers[1].join() == 0
    with condition:
        condition.notify_all()


def test_a_notification_that_the_dead_had_is_passed_on(work: ProgramAtWork) -> None:
    """It was notified, and killed before it knew."""
    condition = Condition(work.member)
    peers, results = waiters(work, condition, 2)
    peers[0].stop()
    peers[1].stop()
    with condition:
        condition.notify()
    (ghost,) = notified(work, condition)
    dead, alive = peers if ghost == peers[0].name else peers[::-1]
    dead.kill()
    alive.go_on()
    assert results.get(timeout=SOON) is True
    assert alive.join() == 0


def notified(work: ProgramAtWork, condition: Condition) -> list[str]:
    found: set[bytes] = work.connection.smembers(f"{condition._key}:n")  # type: ignore[assignment]
    return [ticket.decode().partition("/")[0] for ticket in found]


@pytest.mark.parametrize("kind", [Lock, RLock])
def test_a_condition_is_its_locks_owners(work: ProgramAtWork, kind: type[Lock] | type[RLock]) -> None:
    condition = Condition(work.member, kind(work.member))
    with pytest.raises(AssertionError, match=r"must acquire\(\) condition before using wait\(\)"):
        condition.wait()
    with pytest.raises(AssertionError, match="lock is not owned"):
        condition.notify()
    with condition:
        assert not condition.wait(0.05)
        assert not condition.wait(0)
        assert tickets(condition) == 0
    there = sent(work.member, work.here("1"), condition)
    with condition, pytest.raises(AssertionError):
        there.notify()


def test_wait_releases_an_rlock_however_often_it_was_acquired(work: ProgramAtWork) -> None:
    condition = Condition(work.member)
    there = sent(work.member, work.here("1"), condition)

    def notify() -> None:
        with there:
            there.notify()

    with condition, condition:
        threading.Timer(0.1, notify).start()
        assert condition.wait(SOON)
        assert repr(condition._lock) == "<RLock(this thread, 2)>"
    assert there.acquire(False)


def test_wait_for_waits_for_what_it_says(work: ProgramAtWork) -> None:
    condition, state = Condition(work.member), work.manager.Namespace(n=0)
    there = sent(work.member, work.here("1"), condition)

    def count() -> None:
        for number in range(1, 5):
            with there:
                state.n = number
                there.notify()

    thread = threading.Thread(target=count)
    with condition:
        thread.start()
        assert condition.wait_for(lambda: state.n == 4, SOON) is True
        assert condition.wait_for(lambda: state.n == 5, 0.05) is False
    thread.join(SOON)


def test_a_barrier_lets_all_through_together(work: ProgramAtWork) -> None:
    """Again and again; each gets another number."""
    barrier, results = Barrier(work.member, 3), Queue(work.member)
    peers = [work.start(peer_tasks.come, barrier, results, 5) for _ in range(2)]
    ours = [barrier.wait() for _ in range(5)]
    assert [peer.join() for peer in peers] == [0, 0]
    theirs = [results.get(False) for _ in range(10)]
    assert sorted(ours + theirs) == sorted([0, 1, 2] * 5)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)


def test_the_last_to_come_runs_the_action_first(work: ProgramAtWork) -> None:
    ran = work.manager.list()

    def act() -> None:
        time.sleep(0.2)
        ran.append(1)

    barrier = Barrier(work.member, 2, action=act)
    other = Barrier.from_reference(work.here("1"), [barrier._id, None, None])
    seen: list[list[int]] = []

    def come() -> None:
        other.wait()
        seen.append(ran[:])

    thread = threading.Thread(target=come)
    thread.start()
    until(lambda: barrier.n_waiting == 1)
    assert barrier.wait() == 1
    thread.join(SOON)
    assert seen == [[1]]


def test_an_action_that_raises_breaks_the_barrier(work: ProgramAtWork) -> None:
    barrier = Barrier(work.member, 1, action=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    with pytest.raises(BrokenBarrierError, match="its action raised ZeroDivisionError"):
        barrier.wait()
    assert barrier.broken


def test_a_timeout_breaks_a_barrier_and_reset_mends_it(work: ProgramAtWork) -> None:
    barrier = Barrier(work.member, 2, timeout=0.1)
    with pytest.raises(BrokenBarrierError, match="not all came in time"):
        barrier.wait()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(SOON)
    barrier.reset()
    assert not barrier.broken
    there = sent(work.member, work.here("1"), barrier)
    thread = threading.Thread(target=lambda: there.wait(SOON))
    thread.start()
    assert barrier.wait(SOON) in (0, 1)
    thread.join(SOON)


@pytest.mark.parametrize("what", ["abort", "reset"])
def test_who_waits_is_told(work: ProgramAtWork, what: str) -> None:
    barrier, results = Barrier(work.member, 3), Queue(work.member)
    peers = [work.start(peer_tasks.come, barrier, results, 1) for _ in range(2)]
    until(lambda: barrier.n_waiting == 2)
    getattr(barrier, what)()
    expected = {"abort": "abort() was called", "reset": "it was reset while this process waited"}[what]
    assert [results.get(timeout=SOON) for _ in peers] == [expected] * 2
    assert [peer.join() for peer in peers] == [0, 0]
    assert (barrier.broken, barrier.n_waiting) == (what == "abort", 0)


@pytest.mark.parametrize("waits", [True, False])
def test_a_killed_party_breaks_a_barrier(work: ProgramAtWork, waits: bool) -> None:
    """It waited there, or it had the barrier and would have come: the others do not wait for ever."""
    barrier, ready = Barrier(work.member, 3), Event(work.member)
    if waits:
        peer = work.start(peer_tasks.come, barrier, Queue(work.member), 1)
        until(lambda: barrier.n_waiting == 1)
    else:
        peer = work.start(peer_tasks.hold, Lock(work.member), ready, barrier)
        assert ready.wait(SOON)
    threading.Timer(0.3, peer.kill).start()
    with pytest.raises(BrokenBarrierError, match=f"was killed, or ended while it waited .process {peer.name}."):
        barrier.wait(SOON)


def test_a_party_that_ends_by_itself_breaks_nothing(work: ProgramAtWork) -> None:
    barrier, results = Barrier(work.member, 2), Queue(work.member)
    peer = work.start(peer_tasks.come, barrier, results, 1)
    barrier.wait(SOON)
    assert peer.join() == 0
    assert not barrier.broken


def until(condition: object) -> None:
    deadline = time.monotonic() + SOON
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
