"""Huey: two worker processes.

Best found: RedisHuey with its blocking pop and no scheduler. For many calls results are asked for every 50 ms; for
single calls the worker notifies the caller of each result (`notify_result`), which would only slow many calls down.
"""

from __future__ import annotations

import os
import sys

from huey import RedisHuey
from peer import REDIS_URL, Variant, main, processes

#: Whether single calls are measured: the workers have to know as well.
NOTIFY = os.environ.setdefault("PEER_NOTIFY", "yes" if "--singles" in sys.argv else "no") == "yes"
#: Longer than any wait for a result; the client gives up after 5 s otherwise.
TIMEOUT = "?socket_timeout=300"
huey = RedisHuey("peer", url=REDIS_URL + TIMEOUT, blocking=True, notify_result=NOTIFY)


@huey.task()
def square(number: int) -> int:
    return number * number


def many(items: int) -> list[int]:
    found: list[int] = square.map(range(items)).get(blocking=True, timeout=120, max_delay=0.05)
    return found


def one(number: int) -> int:
    found: int = square(number).get(blocking=True, timeout=10)
    return found


if __name__ == "__main__":
    # Huey names a task by its module: it must have the name here that it has in the workers.
    import huey_peer

    command = [
        "huey_consumer",
        "huey_peer.huey",
        "--workers",
        "2",
        "--worker-type",
        "process",
        "--no-periodic",
        "--quiet",
    ]
    main("huey", {"processes": Variant(lambda: processes(command), huey_peer.many, huey_peer.one)})
