"""concurrent.futures: what takes an Executor takes the cluster.

    $ python examples/futures.py
    8
    [1, 4, 27, 256]

`wait` and `as_completed` of the standard library take these futures too.
"""

from sheaf import Cluster


def main() -> None:
    with Cluster.any() as cluster, cluster.executor() as executor:
        future = executor.submit(pow, 2, 3)
        print(future.result())
        print(list(executor.map(pow, [1, 2, 3, 4], [1, 2, 3, 4])))


if __name__ == "__main__":
    main()
