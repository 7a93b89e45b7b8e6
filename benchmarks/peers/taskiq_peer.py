"""taskiq: two worker processes on a Redis list.

Best found: ListQueueBroker with a large connection pool, 500 calls in flight, arguments not parsed, results asked for
every 2 ms; JSON.
"""

from __future__ import annotations

import asyncio

from peer import REDIS_URL, Variant, main, processes
from taskiq.kicker import AsyncKicker
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

broker = ListQueueBroker(REDIS_URL, max_connection_pool_size=100).with_result_backend(
    RedisAsyncResultBackend(REDIS_URL, result_ex_time=600, max_connection_pool_size=100, keep_results=False)
)
#: Calls in flight at once; more only fill the connections' queue.
IN_FLIGHT = 500
loop = asyncio.new_event_loop()


@broker.task(task_name="square")
async def square(number: int) -> int:
    return number * number


async def call(number: int, room: asyncio.Semaphore) -> int:
    kicker: AsyncKicker[..., int] = square.kicker()
    async with room:
        task = await kicker.kiq(number)
        found = await task.wait_result(check_interval=0.002, timeout=120)
    value: int = found.return_value
    return value


async def call_all(items: int) -> list[int]:
    if not broker.is_worker_process and not getattr(broker, "begun", False):
        await broker.startup()
        broker.begun = True
    room = asyncio.Semaphore(IN_FLIGHT)
    return list(await asyncio.gather(*(call(number, room) for number in range(items))))


def many(items: int) -> list[int]:
    return loop.run_until_complete(call_all(items))


def one(number: int) -> int:
    return loop.run_until_complete(call(number, asyncio.Semaphore(1)))


if __name__ == "__main__":
    command = ["taskiq", "worker", "taskiq_peer:broker", "--workers", "2", "--max-async-tasks", "100", "--no-parse"]
    main("taskiq", {"list": Variant(lambda: processes(command), many, one)})
