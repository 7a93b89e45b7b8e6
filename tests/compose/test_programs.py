"""The Python interface in the stack: from a producer container, from a worker's, with the rights that each role has."""

from __future__ import annotations

from tests.compose.stack import Stack

PROGRAM = """
from sheaf import Cluster, TaskFailed
with Cluster() as cluster:
    print(list(cluster.map("operator:neg", range(5))))
    print(sum(cluster.map("operator:add", range(2000), range(2000))))
    print(cluster.submit(pow, 2, 3).result())
    print([type(each).__name__ for each in cluster.map("operator:truediv", [1, 1], [0, 2], failures="return")])
    unread = cluster.map("operator:neg", range(10**9))
    print(next(unread))
    unread.close()
"""
SHARING = """
from sheaf import Cluster
with Cluster() as cluster:
    with cluster.lock("door") as lease:
        print(cluster.counter("visits").add(1), lease.token)
    cluster.counter("visits").set(cluster.counter("visits").get())
    seen = cluster.dict("seen")
    seen["{0}"] = [1, "é"]
    print(len(seen), seen.setdefault("{0}", 0), seen.pop("none", None), sorted(seen.copy()), "{0}" in seen, 1 in seen)
    queue = cluster.queue("letters", maxsize=2)
    queue.put("{0}")
    print(queue.get(timeout=60), queue.qsize())
"""


def test_a_program_in_a_producer_container_uses_the_workers(stack: Stack) -> None:
    """map, submit and failures, with a producer's rights; nothing of it is left, and Redis has denied nothing."""
    assert stack.producer_python(PROGRAM).splitlines() == [
        "[0, -1, -2, -3, -4]",
        str(sum(range(2000)) * 2),
        "8",
        "['TaskFailed', 'float']",
        "0",
    ]
    assert stack.python("worker", "import os; print(os.listdir('/data/sessions'))").strip() == "['.lock']"
    assert stack.denials() == []


def test_programs_and_tasks_share_across_containers(stack: Stack) -> None:
    """What a producer has put, a worker's container finds; each with its own role's rights."""
    first = stack.producer_python(SHARING.format("producer")).splitlines()
    second = stack.python("worker", SHARING.format("worker")).splitlines()

    assert first == ["1 1", "1 [1, 'é'] None ['producer'] True False", "producer 0"]
    assert second == ["2 2", "2 [1, 'é'] None ['producer', 'worker'] True False", "worker 0"]
    assert stack.denials() == []
