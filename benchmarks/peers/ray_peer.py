"""Ray: `pool` (`ray.util.multiprocessing.Pool(2).map`, its own chunks), `tasks` (one remote task a call); two CPUs, no
dashboard, quiet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

import ray
from peer import Variant, main, square
from ray.util.multiprocessing import Pool

pools: list[Pool] = []


@contextmanager
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=2**28)
    try:
        yield
    finally:
        ray.shutdown()


def pool_map(items: int) -> list[int]:
    if not pools:
        pools.append(Pool(2))
    return list(pools[0].map(square, range(items)))


def tasks(items: int) -> list[int]:
    remote = ray.remote(square)
    found: list[int] = ray.get([remote.remote(number) for number in range(items)])
    return found


def one(number: int) -> int:
    found: int = ray.get(ray.remote(square).remote(number))
    return found


if __name__ == "__main__":
    main("ray", {"pool": Variant(cluster, pool_map), "tasks": Variant(cluster, tasks, one)})
