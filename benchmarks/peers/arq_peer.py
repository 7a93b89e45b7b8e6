"""arq: two workers.

Best found: 100 jobs in a worker's hands, the queue read every 10 ms, 100 jobs sent at a time; results asked for in
order, so that few questions are in vain.
"""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job
from peer import REDIS_URL, Variant, main, processes

SETTINGS = RedisSettings.from_dsn(REDIS_URL)
#: Jobs sent at once.
SENT = 100
loop = asyncio.new_event_loop()
pools: list[ArqRedis] = []


async def square(_: dict[str, Any], number: int) -> int:
    return number * number


class Worker:
    functions = [square]  # noqa: RUF012
    redis_settings = SETTINGS
    max_jobs = 100
    poll_delay = 0.01
    keep_result = 600


async def send(number: int) -> Job:
    if not pools:
        pools.append(await create_pool(SETTINGS))
    job = await pools[0].enqueue_job("square", number)
    assert job is not None
    return job


async def call_all(items: int) -> list[int]:
    jobs = [await send(0)]
    for start in range(1, items, SENT):
        jobs += await asyncio.gather(*(send(number) for number in range(start, min(start + SENT, items))))
    return [await job.result(timeout=120, poll_delay=0.01) for job in jobs]


async def call_one(number: int) -> int:
    found: int = await (await send(number)).result(timeout=120, poll_delay=0.001)
    return found


def many(items: int) -> list[int]:
    return loop.run_until_complete(call_all(items))


def one(number: int) -> int:
    return loop.run_until_complete(call_one(number))


if __name__ == "__main__":
    command = ["arq", "arq_peer.Worker"]
    main("arq", {"tuned": Variant(lambda: processes(command, command), many, one)})
