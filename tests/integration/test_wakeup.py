"""Wakeups: idle workers sleep, and are woken when something is queued."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from sheaf.broker import keys
from sheaf.broker.queue import BatchQueue
from sheaf.broker.wakeup import Notifier
from sheaf.core.errors import RedisUnavailable
from sheaf.run.sessions import SESSION_PREFIX
from tests.integration.batches import batches, ids
from tests.support import RedisServer

pytestmark = pytest.mark.redis


def test_a_wakeup_wakes_the_waiting(queue: BatchQueue, connection: redis.Redis) -> None:
    """An idle worker is woken when something is put on the queue, and when something is put back."""
    assert queue.wait(5) is True, "the first time it is not known what was missed"
    assert queue.wait(0.05) is False

    for ring in (lambda: queue.put(batches(1)), lambda: queue.hand_back("worker-2", ids(0))):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(queue.wait, 60)
            time.sleep(0.1)  # so that it is asleep; if it is not yet, the wakeup counts all the same
            started = time.monotonic()
            ring()
            assert waiting.result() is True
        assert time.monotonic() - started < 30
        queue.claim("worker-2", 1, lease_s=15)


def test_a_wakeup_before_the_wait_is_not_missed(queue: BatchQueue) -> None:
    """Between finding the queue empty and falling asleep, something may be put: the sleep then ends at once, once."""
    queue.wait(0)
    queue.put(batches(1))
    queue.put(batches(1, start=1))

    assert queue.wait(5) is True
    assert queue.wait(0.05) is False


def test_waiting_is_interrupted_by_another_thread(queue: BatchQueue) -> None:
    """A worker that is asked to stop does not sleep on; an interruption before the sleep counts as well."""
    queue.wait(0)
    timer = threading.Timer(0.1, queue.interrupt)
    timer.start()
    started = time.monotonic()

    assert queue.wait(60) is False
    assert time.monotonic() - started < 30
    timer.join()
    queue.interrupt()
    assert queue.wait(60) is False
    assert time.monotonic() - started < 30
    queue.put(batches(1))
    assert queue.wait(10) is True, "an interruption counts once"


def test_a_lost_connection_is_an_error_and_then_a_reason_to_look(own_redis_server: RedisServer) -> None:
    """Redis dies during a wait: reported at once. When it is back, the first wait asks for a look at the queue."""
    with own_redis_server.client() as connection:
        queue = BatchQueue(connection)
        queue.wait(0)
        killer = threading.Timer(0.1, own_redis_server.kill)
        killer.start()

        with pytest.raises(RedisUnavailable):
            queue.wait(10)
        killer.join()
        own_redis_server.start()

        assert queue.wait(10) is True
        queue.close()


def test_whoever_watches_a_run_is_told_of_its_end(queue: BatchQueue, connection: redis.Redis) -> None:
    """A run's wakeup comes when that run is finished, not when another is, or one of a program's."""
    notifier = Notifier(connection, keys.FINISHED_PREFIX + "run-1")
    assert notifier.wait(5) is True, "the first time it is not known what was missed"

    queue.publish_finished(["run-2", f"{SESSION_PREFIX}1-1"])
    assert notifier.wait(0.05) is False
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(notifier.wait, 60)
        started = time.monotonic()
        queue.publish_finished(["run-3", "run-1"])
        assert waiting.result() is True
    assert time.monotonic() - started < 30
    notifier.close()
