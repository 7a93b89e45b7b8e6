"""Short words for locks, for their tests."""

from __future__ import annotations

import time

import redis

from sheaf.broker import keys
from sheaf.broker.lock import FairLock


def make_lock(
    connection: redis.Redis, owner: str = "worker-1", lease_s: float = 10.0, name: str = "output:a"
) -> FairLock:
    return FairLock(connection, name, owner=owner, label=owner.upper(), lease_s=lease_s)


def wait_for_waiters(connection: redis.Redis, count: int, name: str = "output:a") -> None:
    deadline = time.monotonic() + 30
    while connection.llen(keys.LOCK_PREFIX + name + keys.LOCK_WAITERS_SUFFIX) != count:
        assert time.monotonic() < deadline, "the waiters did not queue in time"
        time.sleep(0.005)
