"""Pools of one process's children, in memory and gone with a crash: `pool-map`, `executor`, `pebble`, `loky` (chunks of
1,000), and `imap` (chunks of 1,000, then all results as one JSON file, as a careful person would keep them)."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import Pool
from typing import Any

from peer import Variant, main, square

CHUNK = 1000
open_pools: list[Any] = []


@contextmanager
def standard_pool() -> Iterator[None]:
    with Pool(2) as pool:
        open_pools.append(pool)
        yield


@contextmanager
def executor(module: str = "", name: str = "", **options: Any) -> Iterator[None]:
    make: Callable[..., Any] = getattr(import_module(module), name) if module else ProcessPoolExecutor
    pool = make(max_workers=2, **options)
    open_pools.append(pool)
    yield
    if hasattr(pool, "shutdown"):
        pool.shutdown()
    else:
        pool.close()
        pool.join()


def pool_map(items: int) -> list[int]:
    return list(open_pools[0].map(square, range(items)))


def imap(items: int) -> list[int]:
    found = list(open_pools[0].imap(square, range(items), chunksize=CHUNK))
    with tempfile.TemporaryFile("w") as target:
        json.dump(found, target)
        target.flush()
    return found


def in_chunks(items: int) -> list[int]:
    return list(open_pools[0].map(square, range(items), chunksize=CHUNK))


def pebble_chunks(items: int) -> list[int]:
    return list(open_pools[0].map(square, range(items), chunksize=CHUNK).result())


if __name__ == "__main__":
    main(
        next((name for name in ("pebble", "loky") if name in sys.argv), None),
        {
            "pool-map": Variant(standard_pool, pool_map),
            "imap": Variant(standard_pool, imap),
            "executor": Variant(executor, in_chunks),
            "loky": Variant(lambda: executor("loky", "ProcessPoolExecutor"), in_chunks),
            "pebble": Variant(lambda: executor("pebble", "ProcessPool"), pebble_chunks),
        },
    )
