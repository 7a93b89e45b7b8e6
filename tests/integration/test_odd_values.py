"""Every key of ours in Redis, holding what no code of ours would put there: nothing breaks, and no batch is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis
from redis.typing import EncodableT

from sheaf.broker import keys
from sheaf.broker.lock import FairLock, lock_status
from sheaf.broker.queue import BatchQueue
from sheaf.broker.suspects import Note, Notes
from tests.integration.batches import RUN, batches, ids, numbers, queued

pytestmark = pytest.mark.redis

LOCK = keys.LOCK_PREFIX + keys.output_lock("o.jsonl")
WORKER = "worker-1"
#: Values that are no text, no number, nothing, or too much of anything.
ODD = {
    "bytes": b"\xff\xfe\x00",
    "word": b"abc",
    "empty": b"",
    "negative": b"-5",
    "fraction": b"1.5",
    "nan": b"nan",
    "infinite": b"inf",
    "huge": b"9" * 400,
    "long": b"x" * 2_000_000,
}
#: Every key that workers, producers and views read, and how a value is put into it.
HASHES: dict[str, list[str | bytes]] = {
    keys.OWNERS: [f"{RUN}_0", b"\xff"],
    keys.CLAIMS: [f"{RUN}_0", f"{RUN}_2", b"\xff"],
    keys.RQ_JOB_PREFIX + f"{RUN}_0": ["status", "data"],
    keys.RQ_JOB_PREFIX + f"{RUN}_2": ["status", "data"],
    keys.WORKER_PREFIX + WORKER: ["seen_ms", "beat_s", "pool", "cores", "label", "explain", b"\xff"],
    keys.PROBLEM_PREFIX + RUN: ["problem", "worker", "since_ms", "refused", b"\xff"],
    LOCK: ["holder", "label", "token", "since_ms", "until_ms", "lease_ms"],
    LOCK + keys.LOCK_SEEN_SUFFIX: ["other:1", b"\xff"],
}
LISTS = [keys.RQ_QUEUE, keys.LINE_PREFIX + RUN, LOCK + keys.LOCK_WAITERS_SUFFIX]
SORTED_SETS = [keys.TURNS, keys.LEASES, keys.RQ_STARTED, keys.RQ_FAILED, keys.WORKERS]
SETS = [keys.RQ_QUEUES, keys.RQ_WORKERS, keys.RQ_QUEUE_WORKERS]
STRINGS = [keys.LINED, LOCK + keys.LOCK_TOKEN_SUFFIX, keys.CLAIMED_PREFIX + WORKER, keys.IN_HAND_PREFIX + f"{RUN}_0"]
ALL_KEYS = [*HASHES, *LISTS, *SORTED_SETS, *SETS, *STRINGS]


def put_string(connection: redis.Redis, key: str, value: bytes) -> None:
    connection.set(key, value)


def put_list(connection: redis.Redis, key: str, value: bytes) -> None:
    connection.lpush(key, value)


def put_hash(connection: redis.Redis, key: str, value: bytes) -> None:
    connection.hset(key, value, value)


def put_sorted_set(connection: redis.Redis, key: str, value: bytes) -> None:
    connection.zadd(key, {value: 1.0})


def use_everything(queue: BatchQueue, connection: redis.Redis) -> None:
    """Each step that a worker, a producer or a view takes."""
    queue.snapshot()
    queue.length()
    queue.registry.workers()
    assert all(isinstance(entry.silent, bool) and entry.few("cores") <= 10_000 for entry in queue.registry.workers())
    queue.registry.problem(RUN)
    lock_status(connection, keys.output_lock("o.jsonl"))
    queue.registry.set_problem(RUN, "disk full", WORKER, ttl_s=30)
    problem = queue.registry.problem(RUN)
    assert problem is not None
    assert (problem.text, 0 <= problem.since_s < 60) == ("disk full", True)
    queue.registry.announce(WORKER, {"label": WORKER, "pool": "2"}, ttl_s=30)
    assert WORKER in [entry.id for entry in queue.registry.workers()]
    lock = FairLock(connection, keys.output_lock("o.jsonl"), owner=WORKER, label=WORKER, lease_s=5)
    with lock.acquire(timeout_s=20, floor=41) as lease:
        assert lease.token > 41
        lease.renew()
        assert lock_status(connection, keys.output_lock("o.jsonl")).label == WORKER
    queue.renew(WORKER, ids(0, 1), lease_s=15)
    queue.reap()
    notes = Notes(connection)
    assert notes.read(f"{RUN}_0") is None
    notes.write(f"{RUN}_0", Note(0, 1, claims=3, alone=1))
    assert notes.read(f"{RUN}_0") == Note(0, 1, claims=3, alone=1)
    queue.withdraw(batches(1, start=90))


def assert_no_batch_is_lost(queue: BatchQueue) -> None:
    """What is neither queued nor leased is put back, as the reconciler does; then all is claimed and ended."""
    seen = queue.snapshot()
    queue.put(batch for batch in batches(5) if batch.id not in seen.queued and batch.id not in seen.leased)
    held = {number for number in range(5) if f"{RUN}_{number}" in queue.snapshot().leased}
    for _ in range(4):
        held.update(numbers(queue.claim(WORKER, 4, lease_s=15)))
    queue.renew(WORKER, ids(*range(5)), lease_s=15)
    queue.hand_back(WORKER, ids(3))
    held.update(numbers(queue.claim(WORKER, 4, lease_s=15)))
    assert held >= set(range(5))
    queue.finish(WORKER, ids(*range(5)))
    assert not {name for name in queue.snapshot().queued if name.startswith(RUN)}


@pytest.fixture
def busy(queue: BatchQueue) -> BatchQueue:
    """Batches 0 and 1 are leased, 2 to 4 are queued."""
    queue.put(batches(5))
    assert numbers(queue.claim(WORKER, 2, lease_s=15)) == [0, 1]
    queue.registry.announce(WORKER, {"label": WORKER, "pool": "2"}, ttl_s=30)
    queue.registry.set_problem(RUN, "disk full", WORKER, ttl_s=30)
    return queue


@pytest.mark.parametrize("put", [put_string, put_list, put_hash, put_sorted_set])
@pytest.mark.parametrize("key", ALL_KEYS)
def test_a_key_of_another_type_is_removed_and_costs_nothing(
    busy: BatchQueue, connection: redis.Redis, key: str, put: Callable[[redis.Redis, str, bytes], None]
) -> None:
    """A text where a list belongs, or any other pair: every step still works, and every batch is still done."""
    connection.delete(key)
    put(connection, key, b"odd")

    use_everything(busy, connection)
    assert_no_batch_is_lost(busy)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("key", ALL_KEYS)
def test_an_odd_value_in_a_key_costs_nothing(busy: BatchQueue, connection: redis.Redis, key: str, value: bytes) -> None:
    """What is not UTF-8, no number, empty or huge is passed over, whichever field it is in."""
    for field in HASHES.get(key, []):
        connection.hset(key, field, value)
    if key in LISTS:
        connection.lpush(key, value)
    if key in SORTED_SETS:
        connection.zadd(key, {value: 1.0, value + b"1": float("inf"), value + b"2": float("-inf")})
    if key in SETS:
        connection.sadd(key, value)
    if key in STRINGS:
        connection.set(key, value)

    use_everything(busy, connection)
    assert_no_batch_is_lost(busy)


def test_what_is_claimed_beside_an_odd_entry_is_not_lost(queue: BatchQueue, connection: redis.Redis) -> None:
    """One claim takes batches and strangers' entries alike: the batches are returned, the strangers are named."""
    queue.put(batches(3))
    for entry in (b"\xff\xfe", b"", b"x" * 1_000_000, b"a_b", b"../etc_1", b"run_1e5", b"run_-1", b'q"\\_\n'):
        connection.lpush(keys.RQ_QUEUE, entry)

    claims = queue.claim(WORKER, 3, lease_s=15)

    assert numbers(claims) == [0, 1, 2]
    assert len(claims.foreign) == 8
    assert max(map(len, claims.foreign)) <= 200
    assert queue.length() == 0


def test_a_problem_without_a_moment_is_still_shown(queue: BatchQueue, connection: redis.Redis) -> None:
    """`since_ms` that is no number ended every worker, and `status` with a traceback."""
    noted: dict[EncodableT, EncodableT] = {"problem": b"disk \xff full", "worker": "w", "since_ms": "abc"}
    connection.hset(keys.PROBLEM_PREFIX + RUN, mapping=noted)

    problem = queue.registry.problem(RUN)

    assert problem is not None
    assert (problem.text, problem.since_s) == ("disk \\xff full", 0)
    queue.registry.set_problem(RUN, problem.text, "worker-2", ttl_s=30)
    assert queue.registry.problem(RUN) is not None


def test_no_lock_is_held_by_nonsense_for_ever(queue: BatchQueue, connection: redis.Redis) -> None:
    """A holder whose lease has no end, or one beyond an hour, holds nothing."""
    lock = FairLock(connection, keys.output_lock("o.jsonl"), owner=WORKER, label=WORKER, lease_s=5)
    beyond, most = "9999999999999999", str(2**53)
    for until, lease in (("inf", "inf"), (beyond, beyond), (most, "3600001"), ("nan", "5000"), ("abc", "")):
        fields: dict[EncodableT, EncodableT] = {"holder": "x:1", "label": "x", "token": "5", "since_ms": "1"}
        connection.hset(LOCK, mapping={**fields, "until_ms": until, "lease_ms": lease})

        assert lock.acquire(timeout_s=0).release()


def test_leases_of_what_is_no_batch_come_to_nothing(queue: BatchQueue, connection: redis.Redis) -> None:
    """They are never put on the queue: what is claimed is a batch, or every worker ends as soon as it claims."""
    queue.put(batches(2))
    queue.claim("worker-1", 1, lease_s=0.05)
    time.sleep(0.1)
    connection.zadd(keys.LEASES, {b"": 1, b"\xff\xfe": 2, b"a:b": 3, f"{RUN}_007".encode(): 4})

    assert queue.reap() == ids(0)

    assert queued(connection) == ids(0, 1)
    assert numbers(queue.claim("worker-2", 9, lease_s=15)) == [0, 1]
    assert connection.zcard(keys.LEASES) == 2


def test_what_is_no_batch_is_not_claimed_from_a_partys_line(queue: BatchQueue, connection: redis.Redis) -> None:
    """Written into the line by hand, and on the list: it is taken off, and the batches after it are claimed."""
    queue.put(batches(2))
    queue.hand_back("worker-1", [batch for batch in ids(0) if queue.claim("worker-1", 1, lease_s=15)])
    connection.lpush(keys.RQ_QUEUE, "foreign")
    connection.lpush(f"sheaf:line:{RUN}", "foreign")
    connection.incr(keys.LINED)

    assert numbers(queue.claim("worker-1", 9, lease_s=15)) == [0, 1]
    assert connection.llen(keys.RQ_QUEUE) == 0
