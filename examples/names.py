"""Producers and consumers: names go through a queue, and come out on a console that all consumers share.

    $ python examples/names.py
    6 consumers, 12 lines on the console, each whole:
    Abel Bea Cleo Dora Emil Fay Gus Hope Ida Jon Kim Lea

The three producers are threads here. In the stack each can be a container:

    docker compose run --rm -T python names.py produce 0 &
    docker compose run --rm -T python names.py produce 1 &
    docker compose run --rm -T python names.py produce 2 &
    docker compose run --rm -T python names.py consume
"""

import re
import sys
import threading

from sheaf import Cluster, task

NAMES = ["Abel", "Bea", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hope", "Ida", "Jon", "Kim", "Lea"]
PRODUCERS, CONSUMERS = 3, 6


def produce(number: int, cluster: Cluster) -> None:
    for name in NAMES[number::PRODUCERS]:
        cluster.queue("names").put(name)
    for _ in range(CONSUMERS // PRODUCERS):
        cluster.queue("names").put(None)  # one for each consumer: there is no more


@task(setup=Cluster)
def consume(number: int, cluster: Cluster) -> None:
    while (name := cluster.queue("names").get(timeout=60)) is not None:
        with cluster.lock("console"), open(cluster.settings.data_dir / "console.txt", "a") as console:
            for part in (f"consumer {number}", " has met ", name, "\n"):
                console.write(part)
                console.flush()  # without the lock, others' words would come in between


def consume_all(cluster: Cluster) -> None:
    console = cluster.settings.data_dir / "console.txt"
    console.unlink(missing_ok=True)
    for future in [cluster.submit(consume, number) for number in range(CONSUMERS)]:
        future.result()
    lines = re.findall(r"^consumer [0-5] has met (\w+)$", console.read_text(), re.MULTILINE)
    print(f"{CONSUMERS} consumers, {len(lines)} lines on the console, each whole:")
    print(*sorted(lines))


def main(role: str = "both", number: str = "0") -> None:
    with Cluster.any() as cluster:
        if role == "produce":
            produce(int(number), cluster)
        if role == "both":
            for each in range(PRODUCERS):
                threading.Thread(target=produce, args=(each, cluster)).start()
        if role != "produce":
            consume_all(cluster)


if __name__ == "__main__":
    main(*sys.argv[1:])
