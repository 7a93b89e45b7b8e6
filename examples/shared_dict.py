"""Manager().dict(): workers write into one dict, and the program reads it.

    $ python examples/shared_dict.py
    {'apple': 5, 'fig': 3, 'orange': 6}

What is written twice, by a worker that was killed and one that did it again, is the same as written once.
"""

from sheaf import Cluster, task


@task(setup=Cluster)
def note_length(word: str, cluster: Cluster) -> None:
    cluster.dict("lengths")[word] = len(word)


def main() -> None:
    with Cluster.any() as cluster:
        lengths = cluster.dict("lengths")
        for _ in cluster.map(note_length, ["fig", "apple", "orange"]):
            pass
        print(dict(sorted(lengths.items())))
        lengths.clear()


if __name__ == "__main__":
    main()
