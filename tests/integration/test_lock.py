"""The lock in Redis: one holder, in order of arrival, whatever dies."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from sheaf.broker import keys
from sheaf.broker.lock import lock_status
from sheaf.core.errors import LockLost, LockTimeout
from tests.console import wait_until
from tests.integration.locks import make_lock, wait_for_waiters
from tests.support import RedisServer

pytestmark = pytest.mark.redis


def test_a_free_lock_is_had_at_once_and_its_token_grows(connection: redis.Redis) -> None:
    """Each holder's token is greater than the one before."""
    lock = make_lock(connection)

    tokens = []
    for _ in range(3):
        with lock.acquire(timeout_s=1) as lease:
            tokens.append(lease.token)

    assert tokens == [1, 2, 3]
    assert lock_status(connection, "output:a").holder == ""


def test_the_token_exceeds_the_floor_after_redis_was_emptied(connection: redis.Redis) -> None:
    """A flushed Redis has forgotten the last token; the index remembers it, and the lock starts above it."""
    lock = make_lock(connection)
    lock.acquire(1, floor=41).release()
    connection.flushall()

    lease = lock.acquire(1, floor=42)

    assert lease.token == 43
    assert lock_status(connection, "output:a").token == 43


def test_a_token_beyond_the_precision_of_lua_text_stays_whole(connection: redis.Redis) -> None:
    """Lua writes large numbers as 1e+15 if it is let."""
    lease = make_lock(connection).acquire(1, floor=10**15)

    assert lease.token == 10**15 + 1
    lease.release()
    assert make_lock(connection).acquire(1).token == 10**15 + 2


def test_only_one_holds_the_lock_at_a_time(connection: redis.Redis) -> None:
    """Eight threads add to a plain counter in two steps, 25 times each: none is lost, no token is given twice."""
    counter = 0
    tokens: list[int] = []

    def work(number: int) -> None:
        nonlocal counter
        lock = make_lock(connection, f"worker-{number}")
        for _ in range(25):
            with lock.acquire(timeout_s=30) as lease:
                seen = counter
                time.sleep(0.0005)
                counter = seen + 1
                tokens.append(lease.token)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert counter == 200
    assert tokens == sorted(set(tokens))
    assert connection.keys("*:wake:*") == []


def test_the_lock_is_given_in_order_of_arrival(connection: redis.Redis) -> None:
    """First come, first served."""
    order: list[int] = []
    first = make_lock(connection).acquire(1)

    def work(number: int) -> None:
        with make_lock(connection, f"worker-{number}").acquire(timeout_s=30):
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for position, thread in enumerate(threads):
        thread.start()
        wait_for_waiters(connection, position + 1)
    first.release()
    for thread in threads:
        thread.join()

    assert order == [0, 1, 2, 3, 4, 5]


def test_nobody_overtakes_a_waiter(connection: redis.Redis) -> None:
    """A newcomer that finds the lock free does not take it while another's turn has come."""
    waiter = f"{keys.LOCK_PREFIX}output:a"
    seconds, micros = connection.time()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    connection.rpush(waiter + keys.LOCK_WAITERS_SUFFIX, "worker-9:abc")
    connection.hset(waiter + keys.LOCK_SEEN_SUFFIX, "worker-9:abc", now_ms + 500)

    with pytest.raises(LockTimeout, match=r"free, but it is the turn of another waiter \(worker-9\)"):
        make_lock(connection).acquire(timeout_s=0)


@pytest.mark.serial
def test_a_release_wakes_the_next_in_line_at_once(connection: redis.Redis) -> None:
    """A waiter does not find out by asking again and again: it is woken long before its next sign of life is due."""
    lock = make_lock(connection)
    waits = []
    for _ in range(10):
        lease = lock.acquire(1)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: (make_lock(connection, "worker-2").acquire(5), time.monotonic()))
            wait_for_waiters(connection, 1)
            released = time.monotonic()
            lease.release()
            next_lease, woken = waiting.result()
        waits.append(woken - released)
        next_lease.release()

    # That would be after BEAT_S, 0.4 s.
    assert sorted(waits)[5] < 0.3


def test_a_timeout_names_the_holder_and_leaves_no_trace(connection: redis.Redis) -> None:
    """A waiter that gives up learns who has the lock and for how long, and leaves the queue."""
    lease = make_lock(connection).acquire(1)

    with pytest.raises(LockTimeout, match=r"'output:a' .* held by WORKER-1 \(worker-1\) for \d+\.\d s"):
        make_lock(connection, "worker-2").acquire(timeout_s=0.2)

    assert lock_status(connection, "output:a").waiting == 0
    lease.release()
    assert connection.keys("*") == [b"sheaf:lock:output:a:token"]


def test_a_call_that_was_not_needed_leaves_no_trace(connection: redis.Redis) -> None:
    """A waiter that was woken, but asked by itself before it noticed, leaves no call on its list."""
    lease = make_lock(connection).acquire(1)
    sleepy = make_lock(connection, "worker-2")
    sleepy._sleep = lambda waiter, at_most_s: time.sleep(0.05)  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sleepy.acquire, 5)
        wait_for_waiters(connection, 1)
        lease.release()
        waiting.result().release()

    assert connection.keys("*") == [b"sheaf:lock:output:a:token"]


def test_a_try_without_patience_is_answered_at_once(connection: redis.Redis) -> None:
    """`timeout_s=0`: both when the lock is free and when it is not."""
    lease = make_lock(connection).acquire(timeout_s=0)

    started = time.monotonic()
    with pytest.raises(LockTimeout):
        make_lock(connection, "worker-2").acquire(timeout_s=0)

    # A patient waiter comes back for an answer when the lease of 10 s is over, if not before.
    assert time.monotonic() - started < 5
    lease.release()
    make_lock(connection, "worker-2").acquire(timeout_s=0).release()


def test_a_dead_holder_is_overtaken_when_its_lease_runs_out(connection: redis.Redis) -> None:
    """The waiter notices by itself, and the dead one's lease is lost."""
    started = time.monotonic()
    lost = make_lock(connection, lease_s=0.5).acquire(1)

    lease = make_lock(connection, "worker-2", lease_s=0.5).acquire(timeout_s=20)

    # Not before, and by no other event: it is never given back.
    assert time.monotonic() - started >= 0.5
    assert lease.token == lost.token + 1
    with pytest.raises(LockLost, match="expired after"):
        lost.renew()
    assert lost.release() is False
    assert lock_status(connection, "output:a").holder == "worker-2"


def test_a_waiter_that_was_killed_is_skipped(connection: redis.Redis, redis_server: RedisServer) -> None:
    """kill -9 of the process that is next in line: the one after it has the lock a second later, not with the end of
    its own patience."""
    url = redis_server.url
    lease = make_lock(connection).acquire(1)
    program = (
        "from sheaf.broker.connection import connect\n"
        "from sheaf.broker.lock import FairLock\n"
        "from sheaf.core.settings import Settings\n"
        f"lock = FairLock(connect(Settings(redis_url={url!r})), 'output:a', owner='dead', label='dead', lease_s=10)\n"
        "lock.acquire(timeout_s=60)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        wait_for_waiters(connection, 1)
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(make_lock(connection, "worker-2").acquire, 60)
            wait_for_waiters(connection, 2)
            process.kill()
            process.wait()
            started = time.monotonic()
            lease.release()
            second.result().release()

    assert time.monotonic() - started < 20
    assert lock_status(connection, "output:a").waiting == 0


def test_a_waiter_that_is_interrupted_leaves_the_line_and_passes_its_turn_on(connection: redis.Redis) -> None:
    """Whatever ends the waiting, the next one does not wait for a waiter that is gone."""
    lease = make_lock(connection).acquire(1)
    impatient = make_lock(connection, "worker-2")

    def interrupted(waiter: str, at_most_s: float) -> None:
        raise KeyboardInterrupt

    impatient._sleep = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        impatient.acquire(timeout_s=10)

    assert lock_status(connection, "output:a").waiting == 0
    lease.release()


def test_a_lease_in_use_is_kept_in_the_background(connection: redis.Redis) -> None:
    """Held twice as long as the lease, the lock stays ours."""
    lock = make_lock(connection, lease_s=1.5)

    with lock.acquire(1) as lease, lease.keep():
        time.sleep(3.0)
        held = lock_status(connection, "output:a")

    assert held.holder == "worker-1"
    assert held.held_s > 2.9
    assert not lease.lost


def test_a_lease_that_is_no_longer_used_is_not_kept(connection: redis.Redis) -> None:
    """Once `keep()` has ended, nothing renews: a lock that was never given back runs out."""
    lease = make_lock(connection, lease_s=0.3).acquire(1)
    with lease.keep():
        time.sleep(0.15)

    time.sleep(0.5)

    assert lock_status(connection, "output:a").holder == ""


def test_a_lease_that_redis_forgot_is_known_to_be_lost(connection: redis.Redis) -> None:
    """`keep()` raises nothing into the middle of a commit; it notes the loss."""
    lease = make_lock(connection, lease_s=0.3).acquire(1)

    with lease.keep():
        connection.flushall()
        wait_until(lambda: lease.lost, 60, "the loss is noticed")

    assert lease.lost


def test_many_leases_share_one_thread(connection: redis.Redis) -> None:
    """Keeping costs one thread per process, whatever the number of leases."""
    leases = [make_lock(connection, lease_s=2.0, name=f"output:{number}").acquire(1) for number in range(5)]
    contexts = [lease.keep() for lease in leases]
    for context in contexts:
        context.__enter__()

    time.sleep(2.5)
    threads = [thread for thread in threading.enumerate() if thread.name == "renewer"]

    assert len(threads) == 1
    assert [lock_status(connection, f"output:{number}").holder for number in range(5)] == ["worker-1"] * 5
    for context in contexts:
        context.__exit__(None, None, None)


def test_the_status_tells_who_holds_and_how_many_wait(connection: redis.Redis) -> None:
    """What people are shown: holder, label, token, since when, how many wait."""
    lease = make_lock(connection).acquire(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make_lock(connection, "worker-2").acquire, 5)
        wait_for_waiters(connection, 1)

        status = lock_status(connection, "output:a")

        lease.release()
        waiting.result().release()
    assert (status.holder, status.label, status.token, status.waiting) == ("worker-1", "WORKER-1", 1, 1)
    assert 0 <= status.held_s < 5
    assert 5 < status.left_s <= 10


def test_a_lease_is_kept_no_longer_than_its_holder_may_take(connection: redis.Redis) -> None:
    """Who hangs with a lock in hand keeps others out for a while, not for ever, and learns that it was lost."""
    lease = make_lock(connection, lease_s=1.5).acquire(1)

    with lease.keep(4.0):
        time.sleep(2.5)
        assert lock_status(connection, "output:a").holder == "worker-1"
        wait_until(lambda: lock_status(connection, "output:a").holder == "", 30, "the lease runs out")
        assert lease.lost


def test_leases_that_nobody_renews_any_more_are_lost(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that renews them breaks: their holders learn of it, and the next lease has a thread again."""

    def broken(_lease: object) -> None:
        raise RuntimeError("broken on purpose")

    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    monkeypatch.setattr("sheaf.broker.lock.Lease.renew", broken)
    first = make_lock(connection, lease_s=0.3).acquire(1)
    with first.keep():
        wait_until(lambda: first.lost, 30, "it is reported")
    monkeypatch.setattr("sheaf.broker.lock.Lease.renew", lambda lease: None)
    wait_until(lambda: bool(said), 30, "the thread's end is noticed")
    second = make_lock(connection, lease_s=30).acquire(5)
    with second.keep():
        assert not second.lost
