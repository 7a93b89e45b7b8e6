"""multiprocessing.Queue: workers put `data ** 2` on a queue, and the program takes it from there.

    $ python examples/queue_squares.py
    [1, 4, 9, 16, 25]

A worker that is killed may do an item again, and put it twice: for results, `cluster.map` returns each exactly once.
"""

from sheaf import Cluster, task


@task(setup=Cluster)  # each process of the workers opens the cluster once, and passes it as the second argument
def put_square(data: int, cluster: Cluster) -> None:
    cluster.queue("squares").put(data**2)


def main() -> None:
    with Cluster.any() as cluster:
        squares = cluster.queue("squares")
        for _ in cluster.map(put_square, [1, 2, 3, 4, 5]):
            pass  # a failure would be raised here
        print(sorted(squares.get(timeout=10) for _ in range(5)))
        squares.delete()


if __name__ == "__main__":
    main()
