"""Feeding: what is undone and nowhere is put on the queue, and a run of which nothing is left is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from sheaf.broker.queue import BatchQueue
from sheaf.output.output import Output
from sheaf.run.items import Done
from sheaf.run.run import Run
from sheaf.run.task_spec import TaskSpec
from sheaf.scheduling.reconciler import Reconciler
from tests.runs import write_run

NAME = "20260101-000000-abcdef"


def a_run(data: Path, name: str, items: int) -> Run:
    """A run in batches of two, known to the output."""
    output = Output.create(data / "pages.txt")
    output.register_run(name, items, 2)
    output.close()
    urls = [f"http://example.com/{number}" for number in range(items)]
    return write_run(data, urls, name, TaskSpec("load"), output="pages.txt", batch_size=2)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Ten items in five batches."""
    return a_run(tmp_path, NAME, 10)


def commit(data: Path, *indexes: int) -> None:
    output = Output(data / "pages.txt")
    output.commit({NAME: [Done(index, b"%d\n" % index) for index in indexes]}, worker="w", token=1)
    output.close()


def fed(data: Path, connection: redis.Redis, room: int = 100) -> int:
    queue = BatchQueue(connection)
    reconciler = Reconciler(data, queue, room)
    try:
        return reconciler.feed()
    finally:
        reconciler.close()
        queue.close()


def test_only_what_is_undone_and_nowhere_is_put_on_the_queue(tmp_path: Path, run: Run, connection: redis.Redis) -> None:
    """Committed, queued and leased batches are left alone; what Redis loses is put back by the next look."""
    commit(tmp_path, 0, 1, 4)
    assert fed(tmp_path, connection) == 4
    queue = BatchQueue(connection)
    queue.claim("worker-1", 1, lease_s=30)
    assert fed(tmp_path, connection) == 0

    connection.delete("rq:queue:sheaf")

    assert fed(tmp_path, connection) == 3
    assert queue.snapshot().queued == {f"{NAME}_{number}" for number in (2, 3, 4)}
    queue.close()


def test_the_queue_is_bounded_and_topped_up(tmp_path: Path, run: Run, connection: redis.Redis) -> None:
    """No more are on it than there is room for; as it drains, the rest follows."""
    assert fed(tmp_path, connection, room=2) == 2
    assert fed(tmp_path, connection, room=2) == 0
    queue = BatchQueue(connection)
    claims = queue.claim("worker-1", 1, lease_s=30)

    assert [number for _, number, _ in claims.batches] == [0]
    assert fed(tmp_path, connection, room=2) == 1
    queue.close()


def test_a_full_queue_has_room_for_the_next_run(tmp_path: Path, run: Run, connection: redis.Redis) -> None:
    """Each run has its part of the queue, and is topped up when it has less; one that has more waits."""
    assert fed(tmp_path, connection, room=4) == 4
    a_run(tmp_path, "20260102-000000-abcdef", 10)

    assert fed(tmp_path, connection, room=4) == 2
    assert fed(tmp_path, connection, room=4) == 0
    queue = BatchQueue(connection)
    queue.claim("worker-1", 6, lease_s=30)
    assert fed(tmp_path, connection, room=4) == 4
    queue.close()


def test_a_run_is_closed_only_when_nothing_lies_behind_its_last_commit(
    tmp_path: Path, run: Run, connection: redis.Redis
) -> None:
    """Who committed the last items died before it could say so, and another in mid-append: the torn bytes go first."""
    commit(tmp_path, *range(10))
    whole = (tmp_path / "pages.txt").read_bytes()
    with open(tmp_path / "pages.txt", "ab") as torn:
        torn.write(b"half a rec")

    assert fed(tmp_path, connection) == 0

    assert run.finished
    assert (tmp_path / "pages.txt").read_bytes() == whole


def test_a_cancelled_run_is_left_alone(tmp_path: Path, run: Run, connection: redis.Redis) -> None:
    """Until the same submission takes it up again."""
    run.cancel()
    assert fed(tmp_path, connection) == 0
    run.resume()

    assert fed(tmp_path, connection) == 5
