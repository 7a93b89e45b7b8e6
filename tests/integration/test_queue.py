"""The batch queue: each batch has one worker at a time, and is never stranded, whatever dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from rq.job import Job
from rq.serializers import JSONSerializer

from sheaf.broker import keys
from sheaf.broker.queue import CHUNK, FIRST_CHUNK, BatchQueue
from sheaf.core.errors import UsageError
from sheaf.run.items import Batch, batch_id
from tests.integration.batches import RUN, batches, ids, leave_nothing_but, numbers, queued

pytestmark = pytest.mark.redis


def test_batches_are_claimed_in_the_order_they_were_put(queue: BatchQueue) -> None:
    """First in, first out; the claim says how often each was claimed and how many are left."""
    assert queue.put(batches(5)) == 5

    claims = queue.claim("worker-1", 3, lease_s=15)

    assert claims.batches == [(RUN, 0, 1), (RUN, 1, 1), (RUN, 2, 1)]
    assert claims.left == queue.length() == 2
    assert claims.foreign == []


def test_a_finished_batch_leaves_nothing_behind(queue: BatchQueue, connection: redis.Redis) -> None:
    """Redis stays small: lease, owner, count of claims, RQ's job and its entry are gone."""
    queue.put(batches(2))
    queue.claim("worker-1", 2, lease_s=15)

    queue.finish("worker-1", ids(0, 1))

    leave_nothing_but(connection)


def test_an_empty_queue_gives_nothing(queue: BatchQueue) -> None:
    """A claim never blocks."""
    claims = queue.claim("worker-1", 4, lease_s=15)

    assert claims.batches == []
    assert claims.left == 0


def test_many_workers_never_get_the_same_batch(queue: BatchQueue, connection: redis.Redis) -> None:
    """Eight workers claim 400 batches at once: each batch goes to exactly one."""
    queue.put(batches(400))

    def work(number: int) -> list[int]:
        own = BatchQueue(connection)
        taken: list[int] = []
        while found := numbers(own.claim(f"worker-{number}", 3, lease_s=15)):
            taken += found
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [number for share in pool.map(work, range(8)) for number in share]

    assert sorted(taken) == list(range(400))


def test_batches_are_put_lazily_in_pipelines(queue: BatchQueue, connection: redis.Redis) -> None:
    """An error in the source of batches leaves those on the queue that were put before."""

    def source() -> Iterator[Batch]:
        yield from batches(1200)
        raise UsageError("the source broke")

    with pytest.raises(UsageError):
        queue.put(source())

    assert queue.length() == FIRST_CHUNK + 2 * CHUNK


def test_a_job_is_a_small_reference(queue: BatchQueue, connection: redis.Redis) -> None:
    """A job costs 1.5 to 2 KB in Redis, whatever its items weigh, and holds no pickle."""
    queue.put([Batch(RUN, 7, 70_000_000, 10_000)])

    job = Job.fetch(batch_id(RUN, 7), connection=connection, serializer=JSONSerializer)

    assert list(job.args) == [RUN, 70_000_000, 10_000]
    assert job.func_name == "sheaf.broker.queue.run_batch"
    assert 0 < (connection.memory_usage(keys.RQ_JOB_PREFIX + job.id) or 0) < 2500


def test_the_snapshot_shows_what_is_queued_and_who_holds_the_rest(queue: BatchQueue) -> None:
    """What the reconciler compares with the volume."""
    queue.put(batches(3))
    queue.claim("worker-1", 1, lease_s=15)

    snapshot = queue.snapshot()

    assert snapshot.queued == set(ids(1, 2))
    assert list(snapshot.leased) == ids(0)
    worker, left_ms = snapshot.leased[ids(0)[0]]
    assert worker == "worker-1"
    assert 5_000 < left_ms <= 15_000


def test_a_dead_workers_batches_come_back_to_the_front(queue: BatchQueue, connection: redis.Redis) -> None:
    """A lease that ran out is reaped: the batches are at the front again, in order, and count one claim more."""
    queue.put(batches(4))
    queue.claim("dead", 2, lease_s=2)
    assert queue.reap() == []
    time.sleep(2.05)

    reaped = queue.reap()

    assert reaped == ids(0, 1)
    assert queued(connection) == ids(0, 1, 2, 3)
    assert queue.snapshot().leased == {}
    assert queue.reap() == []
    assert queue.claim("worker-1", 1, lease_s=15).batches == [(RUN, 0, 2)]


def test_a_renewed_lease_does_not_run_out(queue: BatchQueue) -> None:
    """A worker that shows signs of life keeps its batches."""
    queue.put(batches(1))
    queue.claim("worker-1", 1, lease_s=1.5)
    for _ in range(4):
        time.sleep(0.5)
        assert queue.renew("worker-1", ids(0), lease_s=1.5) == []

    assert queue.reap() == []
    assert list(queue.snapshot().leased) == ids(0)


def test_a_worker_learns_what_was_taken_over_while_it_slept(queue: BatchQueue, connection: redis.Redis) -> None:
    """Stopped beyond its lease, and another took one batch: it keeps the other, and leaves that one alone."""
    queue.put(batches(2))
    queue.claim("sleeper", 2, lease_s=0.05)
    time.sleep(0.1)
    queue.reap()
    other = BatchQueue(connection)
    other.claim("other", 1, lease_s=15)

    lost = queue.renew("sleeper", ids(0, 1), lease_s=15)

    assert lost == ids(0)
    # The one that was not taken yet is ours again, and no longer queued.
    assert queued(connection) == []
    assert {name: worker for name, (worker, _) in queue.snapshot().leased.items()} == {
        ids(0)[0]: "other",
        ids(1)[0]: "sleeper",
    }
    queue.hand_back("sleeper", ids(0))
    queue.finish("sleeper", ids(0))
    assert queue.snapshot().leased[ids(0)[0]][0] == "other"


def test_a_batch_committed_after_its_lease_ran_out_is_not_done_again(
    queue: BatchQueue, connection: redis.Redis
) -> None:
    """The worker was slow, not dead: it finishes a batch that is queued again, and it need not be checked."""
    queue.put(batches(2))
    queue.claim("slow", 1, lease_s=0.05)
    time.sleep(0.1)
    queue.reap()

    queue.finish("slow", ids(0))

    assert queued(connection) == ids(1)
    leave_nothing_but(connection, keys.RQ_QUEUE, keys.RQ_JOB_PREFIX + ids(1)[0])


def test_leases_that_redis_forgot_are_made_anew(queue: BatchQueue, connection: redis.Redis) -> None:
    """FLUSHALL, and the reconciler queued the batches again: their living owner takes them off the queue."""
    queue.put(batches(2))
    queue.claim("worker-1", 2, lease_s=15)
    connection.flushall()
    queue.put(batches(3))

    assert queue.renew("worker-1", ids(0, 1), lease_s=15) == []

    assert queued(connection) == ids(2)
    assert set(queue.snapshot().leased) == set(ids(0, 1))


def test_a_batch_that_is_handed_back_stands_at_the_front(queue: BatchQueue, connection: redis.Redis) -> None:
    """A worker that is asked to stop gives back what it has not done, in order; the next worker goes on with it."""
    queue.put(batches(4))
    queue.claim("worker-1", 2, lease_s=15)

    queue.hand_back("worker-1", ids(0, 1))
    queue.hand_back("worker-1", ids(0, 1))

    assert queued(connection) == ids(0, 1, 2, 3)
    assert queue.snapshot().leased == {}
    assert connection.hget(keys.RQ_JOB_PREFIX + ids(0)[0], "status") == b"queued"


def test_a_job_that_redis_lost_is_made_anew_when_its_batch_is_put_back(
    queue: BatchQueue, connection: redis.Redis
) -> None:
    """The id says it all; RQ's job is there again for `rq` to show."""
    queue.put(batches(1))
    queue.claim("worker-1", 1, lease_s=15)
    connection.flushall()
    queue.renew("worker-1", ids(0), lease_s=15)

    queue.hand_back("worker-1", ids(0))

    job = Job.fetch(ids(0)[0], connection=connection, serializer=JSONSerializer)
    assert (job.get_status(), job.origin, job.func_name) == ("queued", keys.QUEUE, "sheaf.broker.queue.run_batch")
    assert list(job.args) == [RUN]
    assert numbers(queue.claim("worker-2", 5, lease_s=15)) == [0]


def test_a_batch_that_is_queued_twice_is_worked_on_once(queue: BatchQueue, connection: redis.Redis) -> None:
    """The second entry of a batch that others hold is dropped; one's own is given again, as the same claim."""
    queue.put(batches(1))
    queue.put(batches(1))
    queue.put(batches(1))
    queue.claim("worker-1", 1, lease_s=15)

    again = queue.claim("worker-1", 1, lease_s=15)
    other = BatchQueue(connection).claim("worker-2", 5, lease_s=15)

    assert again.batches == [(RUN, 0, 1)]
    assert other.batches == []
    assert queue.length() == 0


def test_a_batch_that_ran_out_and_is_queued_already_is_not_queued_twice(
    queue: BatchQueue, connection: redis.Redis
) -> None:
    """The reconciler may have been faster than the reaper."""
    queue.put(batches(2))
    queue.claim("dead", 1, lease_s=0.05)
    queue.put(batches(1))
    time.sleep(0.1)

    assert queue.reap() == ids(0)

    assert queued(connection) == ids(1, 0)


def test_a_renewal_does_not_bring_back_what_was_just_finished(queue: BatchQueue, connection: redis.Redis) -> None:
    """The heartbeat's list of ids may be older than the committer's `finish()`: no lease may come back."""
    queue.put(batches(1))
    queue.claim("worker-1", 1, lease_s=15)
    older_list = ids(0)
    queue.finish("worker-1", ids(0))

    assert queue.renew("worker-1", older_list, lease_s=15) == []

    leave_nothing_but(connection)


def test_a_batch_that_came_back_is_renewed_again(queue: BatchQueue) -> None:
    """Let go of once, claimed again by the same worker: its lease is renewed like any other."""
    queue.put(batches(1))
    queue.claim("worker-1", 1, lease_s=15)
    queue.hand_back("worker-1", ids(0))
    queue.claim("worker-1", 1, lease_s=0.2)

    queue.renew("worker-1", ids(0), lease_s=15)

    assert queue.snapshot().leased[ids(0)[0]][1] > 5_000


def test_a_clock_that_is_set_back_does_not_hold_batches_for_ever(queue: BatchQueue, connection: redis.Redis) -> None:
    """A dead worker's lease, seen from an hour earlier, has at most its own length left."""
    queue.put(batches(1))
    queue.claim("dead", 1, lease_s=0.3)
    connection.zincrby(keys.LEASES, 3_600_000, ids(0)[0])

    queue.reap()
    time.sleep(0.4)

    assert queue.reap() == ids(0)
