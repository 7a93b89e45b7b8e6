"""Short words for batches and what became of them, for the tests of the queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import redis

from sheaf.broker import keys
from sheaf.broker.claims import Claims
from sheaf.run.items import Batch, batch_id

RUN = "20261120T120000Z-abc123"


def batches(count: int, start: int = 0) -> Iterator[Batch]:
    return (Batch(RUN, number, number * 100, 100) for number in range(start, start + count))


def ids(*numbers: int) -> list[str]:
    return [batch_id(RUN, number) for number in numbers]


def numbers(claims: Claims) -> list[int]:
    return [number for _, number, _ in claims.batches]


#: redis-py says `bytes | str` of replies; this client decodes none, so `cast`.
def queued(connection: redis.Redis) -> list[str]:
    return [name.decode() for name in cast(list[bytes], connection.lrange(keys.RQ_QUEUE, 0, -1))]


def leave_nothing_but(connection: redis.Redis, *expected: str) -> None:
    """Redis holds no keys but these (and those that expire by themselves); with the list of queued jobs its lines."""
    if keys.RQ_QUEUE in expected:
        expected += (keys.TURNS, keys.LINED, keys.LINE_PREFIX + RUN)
    found = {name.decode() for name in cast(list[bytes], connection.keys("*"))}
    assert {name for name in found if connection.pttl(name) < 0} == {"rq:queues", *expected}
