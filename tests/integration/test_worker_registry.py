"""The workers' entries and the runs' problems."""

from __future__ import annotations

import time

import pytest
import redis
import rq

from sheaf.broker import keys
from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import ClusterError, RedisUnavailable
from tests.integration.batches import RUN, batches

pytestmark = pytest.mark.redis


def test_a_workers_entry_is_shown_until_it_leaves(queue: BatchQueue, connection: redis.Redis) -> None:
    """What a worker says of itself, as of its last beat; nothing is left when it has gone."""
    queue.registry.announce("worker-b-1", {"label": "b", "items": "1", "old": "x"}, ttl_s=30)
    queue.registry.announce("worker-b-1", {"label": "b", "items": "2"}, ttl_s=30)
    queue.registry.announce("worker-a-1", {"label": "a", "items": "0"}, ttl_s=30)

    entries = queue.registry.workers()

    assert [(entry.label, entry.fields.get("items"), entry.fields.get("old")) for entry in entries] == [
        ("a", "0", None),
        ("b", "2", None),
    ]
    assert all(0 <= entry.silent_s < 5 for entry in entries)
    queue.registry.leave("worker-a-1")
    queue.registry.leave("worker-b-1")
    assert queue.registry.workers() == []
    assert connection.keys("*") == []


def test_a_dead_workers_entry_disappears(queue: BatchQueue, connection: redis.Redis) -> None:
    """A worker that no longer beats is not shown, and the next beat of any other tidies up after it."""
    queue.registry.announce("dead", {"label": "dead"}, ttl_s=0.05)
    time.sleep(0.1)

    assert queue.registry.workers() == []
    queue.registry.announce("alive", {"label": "alive"}, ttl_s=30)
    assert connection.zrange(keys.WORKERS, 0, -1) == [b"alive"]


def test_an_entry_is_complete_again_after_redis_was_emptied(queue: BatchQueue, connection: redis.Redis) -> None:
    """Each beat says everything."""
    queue.registry.announce("worker-1", {"label": "a"}, ttl_s=30)
    connection.flushall()

    queue.registry.announce("worker-1", {"label": "a"}, ttl_s=30)

    assert [entry.label for entry in queue.registry.workers()] == ["a"]
    assert [worker.name for worker in rq.Worker.all(connection=connection)] == ["worker-1"]


def test_a_problem_is_told_with_the_time_since_it_began(queue: BatchQueue) -> None:
    """The same problem reported again keeps its beginning; it goes when solved, or when it is no longer reported."""
    assert queue.registry.problem(RUN) is None
    queue.registry.set_problem(RUN, "disk full", "worker-1", ttl_s=30)
    time.sleep(0.2)
    queue.registry.set_problem(RUN, "disk full", "worker-2", ttl_s=30)

    problem = queue.registry.problem(RUN)

    assert problem is not None
    assert (problem.text, problem.worker) == ("disk full", "worker-2")
    assert problem.since_s >= 0.2
    queue.registry.clear_problem(RUN)
    assert queue.registry.problem(RUN) is None
    queue.registry.set_problem(RUN, "disk full", "worker-1", ttl_s=0.05)
    time.sleep(0.1)
    assert queue.registry.problem(RUN) is None


def test_our_connections_keep_their_settings(queue: BatchQueue, connection: redis.Redis) -> None:
    """RQ's worker object would raise the socket's timeout to minutes; nothing here lets it."""
    queue.put(batches(1))
    queue.registry.announce("worker-1", {"label": "a"}, ttl_s=30)

    assert connection.connection_pool.connection_kwargs["socket_timeout"] == 5.0
    assert issubclass(RedisUnavailable, ClusterError)
