"""A counter that many workers increment: with a lock no increment is lost, without it some are.

    $ python examples/counter.py
    with the lock:     20 of 20
    without the lock:  fewer than 20, increments were lost
    counter.add(1):    20 of 20, and needs no lock

The lock is fair, and taken from a worker that is killed when its lease runs out.
"""

import time

from sheaf import Cluster, task

TIMES = 20


def increment(cluster: Cluster) -> None:
    """Read, and a moment later write: between the two, another process may do the same."""
    count = cluster.counter("count")
    value = count.get()
    time.sleep(0.1)
    count.set(value + 1)


@task(setup=Cluster)
def with_lock(_: int, cluster: Cluster) -> None:
    with cluster.lock("count"):
        increment(cluster)


@task(setup=Cluster)
def without_lock(_: int, cluster: Cluster) -> None:
    increment(cluster)


@task(setup=Cluster)
def in_one_step(_: int, cluster: Cluster) -> None:
    cluster.counter("count").add(1)


def main() -> None:
    with Cluster.any() as cluster:
        counts = []
        for function in (with_lock, without_lock, in_one_step):
            cluster.counter("count").set(0)
            for _ in cluster.map(function, range(TIMES)):
                pass
            counts.append(cluster.counter("count").get())
        cluster.counter("count").delete()
    print(f"with the lock:     {counts[0]} of {TIMES}")
    lost = counts[1] < TIMES
    print(f"without the lock:  {f'fewer than {TIMES}, increments were lost' if lost else f'{TIMES}, by luck'}")
    print(f"counter.add(1):    {counts[2]} of {TIMES}, and needs no lock")


if __name__ == "__main__":
    main()
