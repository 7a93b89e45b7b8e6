"""Dramatiq: two processes of eight threads, the default split for two cores.

Best found: only the results middleware (no retries, age limits, time limits, callbacks), Redis as broker and result
store.
"""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from peer import REDIS_URL, Variant, main, processes

broker = RedisBroker(url=REDIS_URL, middleware=[])
broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def square(number: int) -> int:
    return number * number


def many(items: int) -> list[int]:
    messages = dramatiq.group(square.message(number) for number in range(items)).run()
    return list(messages.get_results(block=True, timeout=120_000))


def one(number: int) -> int:
    found: int = square.send(number).get_result(block=True, timeout=10_000)
    return found


if __name__ == "__main__":
    command = ["dramatiq", "dramatiq_peer", "--processes", "2", "--threads", "8", "--skip-logging"]
    main("dramatiq", {"2x8": Variant(lambda: processes(command), many, one)})
