"""The lock in Redis in trouble: a clock set back, lost replies, a Redis that is full, read-only, restarted or gone."""

from __future__ import annotations

import time

import pytest
import redis

from sheaf.broker import keys
from sheaf.broker.lock import Lease, lock_status
from sheaf.core.errors import LockTimeout, RedisReadOnly, RedisUnavailable
from tests.integration.locks import make_lock
from tests.support import RedisServer, ReplyLosingProxy

pytestmark = pytest.mark.redis


def test_a_clock_that_is_set_back_does_not_hold_the_lock_for_ever(connection: redis.Redis) -> None:
    """A dead holder's lease of 0.5 s, seen from an hour earlier, has 0.5 s left, not an hour."""
    make_lock(connection, lease_s=0.5).acquire(1)
    key = keys.LOCK_PREFIX + "output:a"
    connection.hincrby(key, "until_ms", 3_600_000)
    connection.pexpire(key, 3_600_000)

    started = time.monotonic()
    make_lock(connection, "worker-2").acquire(timeout_s=60).release()

    assert time.monotonic() - started < 30


def test_a_waiter_that_died_before_the_clock_was_set_back_is_skipped(connection: redis.Redis) -> None:
    """Its last sign of life seems to be an hour ahead; it is still taken for dead after a second."""
    key = keys.LOCK_PREFIX + "output:a"
    connection.rpush(key + keys.LOCK_WAITERS_SUFFIX, "dead:1")
    connection.hset(key + keys.LOCK_SEEN_SUFFIX, "dead:1", int(connection.time()[0]) * 1000 + 3_600_000)

    started = time.monotonic()
    make_lock(connection).acquire(timeout_s=60).release()

    assert time.monotonic() - started < 30


@pytest.mark.parametrize("step", ["acquire", "renew", "release"])
def test_a_lost_reply_changes_nothing(connection: redis.Redis, losing_proxy: ReplyLosingProxy, step: str) -> None:
    """Each step of the lock is sent again when its reply was lost, and the second time does no more than the first."""
    with losing_proxy.client() as flaky:
        lock = make_lock(flaky)
        lock.acquire(1).release()
        lease: Lease | None = None
        if step != "acquire":
            lease = lock.acquire(1)
            lease.renew()

        losing_proxy.lose_step()
        if step == "acquire":
            lease = lock.acquire(1)
        elif step == "renew":
            assert lease is not None
            lease.renew()
        else:
            assert lease is not None
            # The first release did it; the second finds nothing to do.
            assert lease.release() is False

    assert losing_proxy.lost == 1
    assert lease.token == 2
    status = lock_status(connection, "output:a")
    assert (status.holder, status.token) == ("" if step == "release" else "worker-1", 2)


def test_the_lock_still_works_when_redis_is_full(connection: redis.Redis) -> None:
    """maxmemory reached, `noeviction`: commits must go on, or nothing would ever be let go of."""
    connection.config_set("maxmemory", 1)

    lease = make_lock(connection).acquire(1)
    lease.renew()
    with pytest.raises(LockTimeout, match="held by WORKER-1"):
        make_lock(connection, "worker-2").acquire(timeout_s=0.1)

    assert lease.release() is True
    assert lock_status(connection, "output:a").token == 1


def test_a_read_only_redis_is_named_as_such(connection: redis.Redis) -> None:
    """A replica answers READONLY; the error says to point at the primary."""
    connection.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(RedisReadOnly, match="primary"):
            make_lock(connection).acquire(1)
    finally:
        connection.replicaof("NO", "ONE")


def test_without_redis_the_lock_says_so(own_redis_server: RedisServer) -> None:
    """No hang, no traceback of redis-py: an error that names the setting."""
    with own_redis_server.client() as connection:
        own_redis_server.kill()

        with pytest.raises(RedisUnavailable, match="SHEAF_REDIS_URL"):
            make_lock(connection).acquire(timeout_s=5)


def test_waiters_live_through_a_restart_of_redis(own_redis_server: RedisServer) -> None:
    """Redis is killed and comes back while the lock is held: the holder keeps it."""
    with own_redis_server.client() as connection:
        connection.config_set("appendfsync", "always")
        lease = make_lock(connection).acquire(1)

        own_redis_server.kill()
        own_redis_server.start()

        lease.renew()
        assert lock_status(connection, "output:a").holder == "worker-1"
