"""Runs take turns: on the queue, in a worker, in a cluster. Nothing is timed: what is done is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from sheaf import Cluster
from sheaf.broker import keys
from sheaf.broker.claims import ClaimRequest
from sheaf.broker.queue import BatchQueue
from sheaf.core.settings import Settings
from sheaf.run.items import Batch
from sheaf.run.run import Run
from tests.integration.batches import queued
from tests.integration.bench import Bench

A, B, C = "20260101-000000-aa", "20260102-000000-bb", "20260103-000000-cc"
SESSION = "session-20260101000000aabbccdd"

TASKS = """
import time

def short(item):
    time.sleep(0.005)
    return item

def long(item):
    time.sleep(0.02)
    return item
"""


def of(run: str, count: int, start: int = 0) -> Iterator[Batch]:
    return (Batch(run, number, number * 10, 10) for number in range(start, start + count))


def claimed(queue: BatchQueue, limit: int, request: ClaimRequest | None = None) -> list[tuple[str, int]]:
    return [(run, number) for run, number, _ in queue.claim("worker-1", limit, 15, request).batches]


def test_runs_are_claimed_in_turns(queue: BatchQueue) -> None:
    """Each in its own order, whichever came first and however much it has there."""
    queue.put(of(A, 1000))
    queue.put(of(B, 3))

    assert claimed(queue, 3) == [(A, 0), (B, 0), (A, 1)]
    queue.put(of(C, 1))
    assert sorted(claimed(queue, 3)) == [(A, 2), (B, 1), (C, 0)]
    assert claimed(queue, 4) == [(B, 2), (A, 3), (A, 4), (A, 5)]
    claims = queue.claim("worker-1", 1, 15)
    assert (claims.left, claims.parties, claims.left_of) == (993, 1, {A: 993})


def test_the_segments_of_a_session_have_one_turn_together(queue: BatchQueue) -> None:
    """A program that sends off much has no more of the cluster than one that sends off little."""
    for number in range(4):
        queue.put(of(f"{SESSION}-{number}", 1))
    queue.put(of(A, 4))

    taken = claimed(queue, 6)

    assert sorted(taken[:2]) == sorted([(f"{SESSION}-0", 0), (A, 0)])
    assert sum(run == A for run, _ in taken) == 3


def test_a_worker_gets_of_those_that_it_wishes(queue: BatchQueue) -> None:
    """Nothing of what it has enough of, so much of what it names, and something of a few others."""
    for run in (A, B, C):
        queue.put(of(run, 5))

    assert claimed(queue, 9, ClaimRequest({A: 0, B: 2}, others=0, each=1)) == [(B, 0), (B, 1)]
    assert claimed(queue, 9, ClaimRequest({A: 0, B: 0}, others=1, each=1)) == [(C, 0)]
    assert len(claimed(queue, 9, ClaimRequest({}, others=2, each=1))) == 2
    assert claimed(queue, 9, ClaimRequest({A: 0, B: 0, C: 0}, others=5, each=4)) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda redis: redis.lpop(keys.RQ_QUEUE),
        lambda redis: redis.lrem(keys.RQ_QUEUE, 0, f"{A}_2"),
        lambda redis: redis.rpush(keys.RQ_QUEUE, f"{C}_7", f"{A}_1"),
        lambda redis: redis.lpush(keys.RQ_QUEUE, f"{C}_7"),
        lambda redis: (redis.lrem(keys.RQ_QUEUE, 0, f"{A}_2"), redis.lpush(keys.RQ_QUEUE, f"{C}_7")),
        lambda redis: redis.delete(keys.RQ_QUEUE),
        lambda redis: redis.delete(keys.LINED),
        lambda redis: redis.set(keys.LINED, 99),
        lambda redis: redis.delete(keys.TURNS, keys.LINED),
        lambda redis: redis.delete(keys.LINE_PREFIX + A),
        lambda redis: redis.set(keys.LINED, "many"),
        lambda redis: [redis.delete(key) and redis.lpush(key, "x") for key in (keys.TURNS, keys.LINED)],
        lambda redis: [redis.set(key, "x") for key in (keys.TURNS, keys.LINE_PREFIX + A)],
        lambda redis: redis.flushall(),
    ],
)
def test_what_stands_on_the_list_is_claimed_whoever_put_it_there(
    queue: BatchQueue, connection: redis.Redis, harm: object
) -> None:
    """RQ's list is the truth: an older Sheaf's workers and producers, or a person, may change it as they like."""
    queue.put(of(A, 5))
    queue.put(of(B, 5))
    claimed(queue, 2)

    harm(connection)  # type: ignore[operator]
    on_the_list = queued(connection)

    taken: list[tuple[str, int]] = []
    for _ in range(20):
        taken += claimed(queue, 1)
    assert {f"{run}_{number}" for run, number in taken} == set(on_the_list)
    assert queued(connection) == []
    assert not connection.exists(keys.LINED, keys.TURNS, keys.LINE_PREFIX + A, keys.LINE_PREFIX + B)


def test_what_is_put_back_is_the_next_of_its_run(queue: BatchQueue) -> None:
    queue.put(of(A, 3))
    queue.put(of(B, 3))
    claimed(queue, 2)

    queue.hand_back("worker-1", [f"{A}_0"])

    assert [pair for pair in claimed(queue, 6) if pair[0] == A] == [(A, 0), (A, 1), (A, 2)]


@pytest.fixture
def busy(bench: Bench) -> Bench:
    """One worker with one process, and two functions: one takes four times as long as the other."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    (tasks / "paced.py").write_text(TASKS)
    bench.person.environment |= {"SHEAF_TASKS_DIR": str(tasks), "SHEAF_POOL_SIZE": "1", "SHEAF_COMMIT_S": "0.2"}
    bench.worker()
    return bench


def many(busy: Bench, task: str, output: str) -> Run:
    """Minutes of work, and some of it done."""
    run = busy.call(f"paced:{task}", *map(str, range(20_000)), batch_size=50, output=output)
    busy.wait_until_done(run, more_than=20)
    return run


def test_a_short_run_behind_a_long_one_has_its_turn_at_once(busy: Bench) -> None:
    """It has a process that was busy with the long one, and is committed without it."""
    long = many(busy, "long", "long.jsonl")

    short = busy.call("paced:short", "1", "2", "3", output="short.jsonl")

    busy.wait_until_done(short)
    assert busy.done(long) < long.manifest.items
    busy.assert_exactly_once(short)


def test_long_runs_share_the_time_not_the_items(busy: Bench) -> None:
    """While one has done n items, the other has done four times as many: they take a quarter of the time."""
    long = many(busy, "long", "long.jsonl")
    short = many(busy, "short", "short.jsonl")
    before = busy.done(long), busy.done(short)

    busy.wait_until_done(long, more_than=before[0] + 150, within_s=120)

    gained = [busy.done(run) - begun for run, begun in zip((long, short), before, strict=True)]
    assert 2 <= gained[1] / gained[0] <= 8, gained


def test_a_program_has_its_turn_beside_a_long_run(busy: Bench) -> None:
    """Its calls come back, one after the other, and the run goes on meanwhile."""
    long = many(busy, "long", "long.jsonl")
    before = busy.done(long)

    with Cluster(Settings.from_env(busy.person.environment), data=busy.person.data) as cluster:
        assert [cluster.submit(pow, 2, number).result(60) for number in range(5)] == [1, 2, 4, 8, 16]
        assert list(cluster.map(abs, range(-300, 0))) == list(range(300, 0, -1))

    assert busy.done(long) < long.manifest.items
    busy.wait_until_done(long, more_than=before + 20)


def test_many_short_runs_do_not_starve_a_long_one(busy: Bench) -> None:
    """They are all done, and it has done something in the meantime."""
    long = many(busy, "long", "long.jsonl")
    before = busy.done(long)

    shorts = [busy.call("paced:long", *map(str, range(5)), output="short.jsonl") for _ in range(30)]

    for short in shorts:
        busy.wait_until_done(short, within_s=120)
    gained = busy.done(long) - before
    assert 5 <= gained <= 3_000, gained
