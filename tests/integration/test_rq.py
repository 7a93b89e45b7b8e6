"""Other people's hands on our queue: `rq info`, a stock `rq worker`, jobs of other programs."""

from __future__ import annotations

import os
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
    queue.registry.announce("box:1-aabb", {"label": "box:1", "state": "busy", "pid": "7"}, ttl_s=30)
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
    queue.registry.leave("box:1-aabb")
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
    """It is moved to RQ's failed jobs, with the reason; an id without a job is dropped; ours after it is claimed."""
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
    assert "belongs to Sheaf" in str(connection.hget(keys.RQ_JOB_PREFIX + "theirs", "exc_info"))


@pytest.mark.filterwarnings("default")
def test_a_stock_rq_worker_fails_a_batch_and_says_why(
    queue: BatchQueue, connection: redis.Redis, redis_server: RedisServer
) -> None:
    """The job says what to do; the batch is neither queued nor leased, so the reconciler puts it back."""
    queue.put(batches(1))

    output = rq_command(redis_server, "worker", keys.QUEUE, "--burst", "--serializer", "rq.serializers.JSONSerializer")

    assert "stop it and start `sheaf-worker`" in output.stderr + output.stdout
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


@pytest.mark.parametrize("prefix", ["shop", "rq:", "{rq}", "", "a b"])
def test_another_key_prefix_of_rq_is_refused(prefix: str, tmp_path: Path) -> None:
    """An attempt to put batches on a queue that no worker knows is refused, with the setting and the queue's name."""
    made = "from sheaf.broker.queue import BatchQueue; import redis; BatchQueue(redis.Redis())"
    environment = {**os.environ, "RQ_KEY_PREFIX": prefix}
    done = subprocess.run([sys.executable, "-c", made], env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("sheaf.core.errors.SettingsError: ")
    assert f"RQ_KEY_PREFIX {prefix!r}" in said or f"RQ_KEY_PREFIX={prefix}: " in said
    assert "rq:queue:sheaf" in said
    assert "env -u RQ_KEY_PREFIX" in said


@pytest.mark.parametrize("command", [("up",), ("map", "math:sqrt", "range(3)"), ("load", "list.txt")])
def test_a_command_says_in_one_line_that_the_key_prefix_must_go(
    redis_server: RedisServer, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Before it does anything: workers would do a run that is on the volume, though its command was refused."""
    (tmp_path / "list.txt").write_text("http://127.0.0.1:1/\n")
    environment = {**os.environ, "RQ_KEY_PREFIX": "shop", "SHEAF_DATA_DIR": str(tmp_path / "data")}
    if command != ("up",):
        environment["SHEAF_REDIS_URL"] = redis_server.url
    done = subprocess.run([BIN / "sheaf", *command], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("sheaf: RQ_KEY_PREFIX=shop: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("data/runs/*"))
    assert not (tmp_path / "data/.sheaf/cluster.json").exists()


def test_rqs_own_key_prefix_changes_nothing(connection: redis.Redis, redis_server: RedisServer, tmp_path: Path) -> None:
    """Set to what it is without: the batch is where workers look for it."""
    put = (
        "import sys; from sheaf.broker.connection import connect; from sheaf.core.settings import Settings\n"
        "from sheaf.broker.queue import BatchQueue; from tests.integration.batches import batches\n"
        "BatchQueue(connect(Settings(redis_url=sys.argv[1]))).put(batches(2))"
    )
    environment = {**os.environ, "RQ_KEY_PREFIX": "rq"}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", put, redis_server.url], env=environment, cwd=root, check=True)
    assert connection.llen(keys.RQ_QUEUE) == 2
