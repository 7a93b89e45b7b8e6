"""Celery: `prefork` (-c 2), `chunks` (the same, 1,000 calls a message by `task.chunks`).

Best found: Redis as broker and backend, no gossip, mingle, heartbeat, events or rate limits, prefetch of 64, JSON.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from celery import Celery, group
from peer import REDIS_URL, Variant, main, processes

app = Celery("celery_peer", broker=REDIS_URL, backend=REDIS_URL)
app.conf.update(
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    task_serializer="json",
    result_serializer="json",
    result_expires=600,
)
WORKER = "celery -A celery_peer worker -P prefork -c 2 -l ERROR --without-gossip --without-mingle --without-heartbeat"
#: Calls in a message of the variant with chunks.
CHUNK = 1000


@app.task(name="square")
def square(number: int) -> int:
    return number * number


def many(items: int) -> list[int]:
    found: list[int] = group(square.s(number) for number in range(items)).apply_async().get()
    return found


def chunks(items: int) -> list[int]:
    parts = square.chunks(((number,) for number in range(items)), CHUNK).group().apply_async().get()
    return [value for part in parts for value in part]


def one(number: int) -> int:
    found: int = square.delay(number).get(interval=0.001)
    return found


def workers() -> AbstractContextManager[None]:
    return processes(WORKER.split())


if __name__ == "__main__":
    main("celery", {"prefork": Variant(workers, many, one), "chunks": Variant(workers, chunks)})
