"""Sheaf's interface for programs, as the benchmarks call it, on the cluster of the environment.

    python benchmarks/api_calls.py singles N      N calls by `cluster.submit`, one after another
    python benchmarks/api_calls.py map N          `cluster.map` over N integers, results in order

Prints {"times_ms": [...]} or {"run_s": ...}; the first connection and the first calls do not count, as for the peers.
"""

from __future__ import annotations

import json
import sys
import time

from sheaf import Cluster

SQUARE = "bench_tasks:square"
WARM_UP = 20
#: Seconds after each single call, so that the next one finds everybody idle.
PAUSE_S = 0.005


def singles(cluster: Cluster, count: int) -> dict[str, object]:
    times_ms = []
    for number in range(count):
        start = time.perf_counter()
        found = cluster.submit(SQUARE, number).result(60)
        times_ms.append((time.perf_counter() - start) * 1000)
        if found != number * number:
            raise SystemExit("wrong result")
        time.sleep(PAUSE_S)
    return {"times_ms": times_ms}


def many(cluster: Cluster, count: int) -> dict[str, object]:
    start = time.perf_counter()
    found = list(cluster.map(SQUARE, range(count)))
    run_s = time.perf_counter() - start
    if found != [number * number for number in range(count)]:
        raise SystemExit("wrong results")
    return {"run_s": run_s}


def main() -> None:
    kind, count = sys.argv[1], int(sys.argv[2])
    with Cluster() as cluster:
        singles(cluster, WARM_UP)
        print(json.dumps(singles(cluster, count) if kind == "singles" else many(cluster, count)))


if __name__ == "__main__":
    main()
