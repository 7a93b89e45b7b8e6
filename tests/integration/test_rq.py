"""Other people's hands on our queue: `rq info`, a stock `rq worker`, jobs of other programs."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
import rq
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from sheaf.broker import keys
from sheaf.broker.queue import BatchQueue, run_batch
from sheaf.core.errors import UsageError
from tests.integration.batches import RUN, batches, ids, numbers
from tests.support import RedisServer

pytestmark = pytest.mark.redis

BIN = Path(sys.executable).parent


def rq_command(server: RedisServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "rq", *arguments, "--url", server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_rq_info_shows_our_queue_and_harms_nothing(
    queue: BatchQueue, connection: redis.Redis, redis_server: RedisServer
) -> None:
    """Two `rq info` at once, with RQ's clean-up: queue, started jobs and workers are shown, and all is as before."""
    queue.put(batches(5))
    queue.claim("box:1-aabb", 2, lease_s=15)
    queue.announce("box:1-aabb", {"label": "box:1", "state": "busy", "pid": "7"}, ttl_s=30)
    before = queue.snapshot()

    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda _: rq_command(redis_server, "info"), range(2)))

    for output in outputs:
        assert output.returncode == 0, output.stderr
        assert "3, 2 executing, 0 finished, 0 failed" in output.stdout
        assert "box:1-aabb (box:1 unknown" in output.stdout
        assert "busy" in output.stdout
        assert "1 workers, 1 queues" in output.stdout
    after = queue.snapshot()
    assert (after.queued, set(after.leased)) == (before.queued, set(before.leased))
    assert queue.length() == 3
    queue.leave("box:1-aabb")
    assert "0 workers" in rq_command(redis_server, "info").stdout


def test_counting_started_jobs_re_runs_none(queue: BatchQueue, connection: redis.Redis) -> None:
    """RQ's `len(registry)` cleans up as a side effect and can queue a job twice; it never touches our entries."""
    queue.put(batches(3))
    queue.claim("worker-1", 3, lease_s=0.05)
    time.sleep(0.1)

    with ThreadPoolExecutor(4) as pool:
        counts = list(
            pool.map(
                lambda _: len(StartedJobRegistry(keys.QUEUE, connection=connection, serializer=JSONSerializer)),
                range(20),
            )
        )

    assert set(counts) == {3}
    assert queue.length() == 0
    assert sorted(queue.reap()) == ids(0, 1, 2)


def test_a_job_of_another_program_is_reported_and_not_lost(queue: BatchQueue, connection: redis.Redis) -> None:
    """It is moved to RQ's failed jobs, with the reason; an id without a job is dropped; ours behind it is claimed."""
    theirs = rq.Queue(keys.QUEUE, connection=connection, serializer=JSONSerializer).enqueue(
        "os.getcwd", job_id="theirs"
    )
    odd = ["no-job_1x", f"{RUN}_007", "-a_1", "a--b_1", "_5"]
    connection.rpush(keys.RQ_QUEUE, *odd)
    queue.put(batches(1))

    claims = queue.claim("worker-1", 1, lease_s=15)

    assert numbers(claims) == [0]
    assert claims.foreign == ["theirs", *odd]
    failed = FailedJobRegistry(keys.QUEUE, connection=connection, serializer=JSONSerializer)
    assert failed.get_job_ids() == ["theirs"]
    theirs.refresh()
    assert theirs.get_status() == "failed"
    assert b"belongs to Sheaf" in connection.hget(keys.RQ_JOB_PREFIX + "theirs", "exc_info")


@pytest.mark.filterwarnings("default")
def test_a_stock_rq_worker_fails_a_batch_and_says_why(
    queue: BatchQueue, connection: redis.Redis, redis_server: RedisServer
) -> None:
    """The job says what to do; the batch is neither queued nor leased, so the reconciler puts it back."""
    queue.put(batches(1))

    output = rq_command(redis_server, "worker", keys.QUEUE, "--burst", "--serializer", "rq.serializers.JSONSerializer")

    assert "stop it, and start `sheaf-worker`" in output.stderr + output.stdout
    snapshot = queue.snapshot()
    assert (snapshot.queued, snapshot.leased) == (set(), {})
    queue.put(batches(1))
    assert numbers(queue.claim("worker-1", 1, lease_s=15)) == [0]
    queue.finish("worker-1", ids(0))
    assert connection.zcard(keys.RQ_FAILED) == 0


def test_the_function_that_jobs_name_says_what_to_do() -> None:
    """Called by anything, it raises an error for people."""
    with pytest.raises(UsageError, match="start `sheaf-worker`"):
        run_batch(RUN, 0, 100)
