"""arq: two workers.

Best found: 100 jobs in a worker's hands, the queue read every 10 ms, results asked for every 5 ms, 200 calls in flight.
"""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from peer import REDIS_URL, Variant, main, processes

SETTINGS = RedisSettings.from_dsn(REDIS_URL)
IN_FLIGHT = 200
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


async def call(number: int, room: asyncio.Semaphore) -> int:
    if not pools:
        pools.append(await create_pool(SETTINGS))
    async with room:
        job = await pools[0].enqueue_job("square", number)
        assert job is not None
        found: int = await job.result(timeout=120, poll_delay=0.005)
    return found


async def call_all(items: int) -> list[int]:
    room = asyncio.Semaphore(IN_FLIGHT)
    return list(await asyncio.gather(*(call(number, room) for number in range(items))))


def many(items: int) -> list[int]:
    return loop.run_until_complete(call_all(items))


def one(number: int) -> int:
    return loop.run_until_complete(call(number, asyncio.Semaphore(1)))


if __name__ == "__main__":
    command = ["arq", "arq_peer.Worker"]
    main("arq", {"tuned": Variant(lambda: processes(command, command), many, one)})
