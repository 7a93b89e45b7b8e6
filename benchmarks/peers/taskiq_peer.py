"""taskiq: two worker processes on a Redis list.

Best found: ListQueueBroker with a large connection pool, 100 calls sent at a time, arguments not parsed; results asked
for in order, so that few questions are in vain; JSON.
"""

from __future__ import annotations

import asyncio

from peer import REDIS_URL, Variant, main, processes
from taskiq import AsyncTaskiqTask
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

broker = ListQueueBroker(REDIS_URL, max_connection_pool_size=100).with_result_backend(
    RedisAsyncResultBackend(REDIS_URL, result_ex_time=600, max_connection_pool_size=100, keep_results=False)
)
#: Calls sent at once; more only fill the connections' queue.
SENT = 100
loop = asyncio.new_event_loop()


@broker.task(task_name="square")
async def square(number: int) -> int:
    return number * number


async def result(task: AsyncTaskiqTask[int], check_s: float) -> int:
    found = await task.wait_result(check_interval=check_s, timeout=120)
    value: int = found.return_value
    return value


async def call_all(items: int) -> list[int]:
    tasks: list[AsyncTaskiqTask[int]] = []
    for start in range(0, items, SENT):
        tasks += await asyncio.gather(*(square.kiq(number) for number in range(start, min(start + SENT, items))))
    return [await result(task, 0.01) for task in tasks]


async def call_one(number: int) -> int:
    return await result(await square.kiq(number), 0.001)


def many(items: int) -> list[int]:
    return loop.run_until_complete(call_all(items))


def one(number: int) -> int:
    return loop.run_until_complete(call_one(number))


if __name__ == "__main__":
    command = ["taskiq", "worker", "taskiq_peer:broker", "--workers", "2", "--max-async-tasks", "100", "--no-parse"]
    main("taskiq", {"list": Variant(lambda: processes(command), many, one)})
