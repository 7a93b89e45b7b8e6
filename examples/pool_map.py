"""Pool.map, the first example of `multiprocessing`'s own documentation: a function over a list.

    $ python examples/pool_map.py
    [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]

`cluster.map` is lazy and in order, as `Pool.imap` is: its input may be endless.
A worker that is killed on the way costs nothing.
"""

from sheaf import Cluster


def square(number: int) -> int:
    return number * number


def main() -> None:
    with Cluster.any() as cluster:
        print(list(cluster.map(square, range(10))))


if __name__ == "__main__":
    main()
