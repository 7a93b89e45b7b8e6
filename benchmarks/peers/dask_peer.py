"""Dask: `map` (`client.map`, two processes of one thread), `bag` (100 partitions, distributed), `bag-local` (the
process scheduler, 100 partitions). No dashboard, quiet logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import dask
import dask.bag
from dask.distributed import Client, LocalCluster
from peer import Variant, main, square

PARTITIONS = 100


@contextmanager
def cluster() -> Iterator[None]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR) as local,
        Client(local),
    ):
        yield


def client_map(items: int) -> list[int]:
    client = Client.current()
    found: list[int] = client.gather(client.map(square, range(items), pure=False))
    return found


def bag(items: int) -> list[int]:
    found: list[int] = dask.bag.from_sequence(range(items), npartitions=min(items, PARTITIONS)).map(square).compute()
    return list(found)


def bag_local(items: int) -> list[int]:
    with dask.config.set(scheduler="processes", num_workers=2):
        return bag(items)


def one(number: int) -> int:
    found: int = Client.current().submit(square, number, pure=False).result()
    return found


if __name__ == "__main__":
    main(
        "distributed",
        {
            "map": Variant(cluster, client_map, one),
            "bag": Variant(cluster, bag),
            "bag-local": Variant(nullcontext, bag_local),
        },
    )
