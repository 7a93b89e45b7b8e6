"""The batch queue when replies are lost, and with a Redis that is full, read-only, restarted or gone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from sheaf.broker.connection import connect
from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import RedisDenied, RedisFull, RedisReadOnly, RedisUnavailable
from sheaf.core.settings import Settings
from tests.integration.batches import RUN, batches, ids, numbers, queued
from tests.patches import noting
from tests.support import RedisServer, ReplyLosingProxy

pytestmark = pytest.mark.redis


@pytest.fixture
def flaky(losing_proxy: ReplyLosingProxy) -> Iterator[BatchQueue]:
    """A queue through the proxy, which has run each of its scripts once."""
    with losing_proxy.client() as client:
        queue = BatchQueue(client)
        queue.put(batches(1, start=1000))
        queue.claim("warm", 1, lease_s=15)
        queue.renew("warm", ids(1000), lease_s=15)
        queue.hand_back("warm", ids(1000))
        queue.claim("warm", 1, lease_s=15)
        queue.finish("warm", ids(1000))
        queue.registry.announce("warm", {"label": "warm"}, ttl_s=30)
        queue.registry.set_problem("warm", "none", "warm", ttl_s=1)
        queue.registry.leave("warm")
        queue.snapshot()
        yield queue


def test_a_claim_whose_reply_was_lost_strands_nothing(
    flaky: BatchQueue, losing_proxy: ReplyLosingProxy, connection: redis.Redis
) -> None:
    """The second try returns the batches that the first one took, and takes no others."""
    flaky.put(batches(5))

    losing_proxy.lose_step()
    claims = flaky.claim("worker-1", 2, lease_s=15)

    assert losing_proxy.lost == 1
    assert claims.batches == [(RUN, 0, 1), (RUN, 1, 1)]
    assert queued(connection) == ids(2, 3, 4)


def test_a_claim_that_failed_altogether_is_made_up_for_by_the_next(
    connection: redis.Redis, losing_proxy: ReplyLosingProxy
) -> None:
    """Two consecutive replies lost: the error is raised, and the next claim brings the same batches."""
    with losing_proxy.client() as client:
        queue = BatchQueue(client)
        queue.put(batches(3))
        queue.claim("worker-1", 1, lease_s=15)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queue._claim, "_run", noting(queue._claim._run, lambda *_: losing_proxy.lose_step()))
            with pytest.raises(RedisUnavailable):
                queue.claim("worker-1", 1, lease_s=15)

        claims = queue.claim("worker-1", 1, lease_s=15)

    assert losing_proxy.lost == 2
    assert claims.batches == [(RUN, 1, 1)]
    assert queued(connection) == ids(2)


@pytest.mark.parametrize("step", ["renew", "finish", "hand_back", "reap", "announce", "set_problem", "leave"])
def test_a_lost_reply_changes_nothing(
    flaky: BatchQueue, losing_proxy: ReplyLosingProxy, connection: redis.Redis, step: str
) -> None:
    """Each write leaves the same state whether its reply came the first time or not."""
    flaky.put(batches(3))
    flaky.claim("worker-1", 2, lease_s=0.1 if step == "reap" else 15)
    flaky.registry.announce("worker-1", {"label": "a"}, ttl_s=30)
    time.sleep(0.15)

    if step == "leave":
        losing_proxy.lose("SREM")
    else:
        losing_proxy.lose_step()
    if step == "renew":
        assert flaky.renew("worker-1", ids(0, 1), lease_s=15) == []
    elif step == "finish":
        flaky.finish("worker-1", ids(0, 1))
    elif step == "hand_back":
        flaky.hand_back("worker-1", ids(0, 1))
    elif step == "reap":
        flaky.reap()
    elif step == "announce":
        flaky.registry.announce("worker-1", {"label": "b"}, ttl_s=30)
    elif step == "set_problem":
        flaky.registry.set_problem(RUN, "disk full", "worker-1", ttl_s=30)
    else:
        with pytest.raises(RedisUnavailable):
            flaky.registry.leave("worker-1")
        flaky.registry.leave("worker-1")

    assert losing_proxy.lost == 1
    assert queued(connection) == (ids(0, 1, 2) if step in ("hand_back", "reap") else ids(2))
    leased = set() if step in ("finish", "hand_back", "reap") else set(ids(0, 1))
    assert set(flaky.snapshot().leased) == leased
    assert [entry.label for entry in flaky.registry.workers()] == {"announce": ["b"], "leave": []}.get(step, ["a"])
    problem = flaky.registry.problem(RUN)
    assert (problem.text if problem else None) == ("disk full" if step == "set_problem" else None)


def test_a_put_whose_reply_was_lost_is_reported_and_bears_a_second_look(
    flaky: BatchQueue, losing_proxy: ReplyLosingProxy
) -> None:
    """`put()` does not repeat itself: no entry becomes two, and the snapshot shows that they are there."""
    losing_proxy.lose("EXEC")

    with pytest.raises(RedisUnavailable):
        flaky.put(batches(5))

    assert losing_proxy.lost == 1
    assert flaky.length() == 5
    assert flaky.snapshot().queued == set(ids(0, 1, 2, 3, 4))


def test_a_full_redis_still_drains(queue: BatchQueue, connection: redis.Redis) -> None:
    """maxmemory reached, `noeviction`: nothing can be put, all can be taken, kept, handed back, finished, shown."""
    queue.put(batches(4))
    connection.config_set("maxmemory", 1)

    with pytest.raises(RedisFull, match="maxmemory"):
        queue.put(batches(1, start=4))
    assert numbers(queue.claim("worker-1", 3, lease_s=15)) == [0, 1, 2]
    assert queue.renew("worker-1", ids(0, 1, 2), lease_s=0.1) == []
    queue.hand_back("worker-1", ids(0))
    queue.finish("worker-1", ids(1))
    time.sleep(0.15)
    assert queue.reap() == ids(2)
    queue.registry.announce("worker-1", {"label": "a", "state": "blocked"}, ttl_s=30)
    queue.registry.set_problem(RUN, "Redis is full", "worker-1", ttl_s=30)

    assert queue.snapshot().queued == set(ids(2, 0, 3))
    assert queue.length() == 3
    assert [entry.fields["state"] for entry in queue.registry.workers()] == ["blocked"]
    assert queue.registry.problem(RUN) is not None
    queue.registry.clear_problem(RUN)
    queue.registry.leave("worker-1")
    assert queue.registry.workers() == []


def test_a_read_only_redis_is_named_as_such(queue: BatchQueue, connection: redis.Redis) -> None:
    """A replica answers READONLY; reads still work."""
    queue.put(batches(1))
    connection.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(RedisReadOnly, match="primary"):
            queue.put(batches(1))
        with pytest.raises(RedisReadOnly):
            queue.claim("worker-1", 1, lease_s=15)
        assert queue.length() == 1
        assert queue.snapshot().queued == set(ids(0))
    finally:
        connection.replicaof("NO", "ONE")


def test_a_right_that_is_missing_is_named_as_such(
    queue: BatchQueue, connection: redis.Redis, redis_server: RedisServer
) -> None:
    """Refused outright or in the middle of a script, and a wrong password: the error says to look at user and ACL."""
    queue.put(batches(1))
    connection.execute_command("ACL", "SETUSER", "half", "reset", "on", ">right", "~*", "+@all", "-zadd", "-llen")
    settings = Settings(redis_url=redis_server.url, redis_user="half", redis_password="right")
    wrong = Settings(redis_url=redis_server.url, redis_user="half", redis_password="wrong")

    with connect(settings) as client:
        half = BatchQueue(client)
        with pytest.raises(RedisDenied, match="ACL"):
            half.length()
        with pytest.raises(RedisDenied, match="ACL"):
            half.renew("worker-1", ids(0), lease_s=15)
    with connect(wrong) as client, pytest.raises(RedisDenied, match="SHEAF_REDIS_PASSWORD"):
        BatchQueue(client).length()
    connection.execute_command("ACL", "DELUSER", "half")


def test_a_redis_that_was_killed_and_came_back_is_used_again(own_redis_server: RedisServer) -> None:
    """kill -9 and a start: scripts are loaded anew, and what was acknowledged a second ago is there."""
    with own_redis_server.client() as connection:
        connection.config_set("appendfsync", "always")
        queue = BatchQueue(connection)
        queue.put(batches(3))
        queue.claim("worker-1", 1, lease_s=15)

        own_redis_server.kill()
        with pytest.raises(RedisUnavailable):
            queue.claim("worker-1", 1, lease_s=15)
        own_redis_server.start()

        assert numbers(queue.claim("worker-1", 1, lease_s=15)) == [1]
        queue.finish("worker-1", ids(0, 1))
        assert queued(connection) == ids(2)
