"""What a held-up worker gives back: whole batches of which nothing is begun, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sheaf.run.number_range import Numbers
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.claim.release import take_unstarted
from sheaf_worker.pool.pool import ItemBlock, Pool, TaskRun
from tests.unit.test_in_flight import a_run, done, holding

PROGRAM = TaskRun("run-1", TaskSpec("tasks:act"), "values.jsonl")


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool that was not started: what it gets, it keeps."""
    pool = Pool(1)
    yield pool
    pool.close(0)


def test_only_whole_batches_are_given_back(pool: Pool) -> None:
    """Batch 0 is begun; 1 came back from a child in one piece with the rest of it; 2 is settled but for item 9."""
    run = a_run(items=20)
    in_flight = holding(run, 0, 1, 2, 4)
    in_flight.settle(run, done(8, 10, 11))
    pool.add(PROGRAM, ItemBlock(range(2, 8), Numbers(range(102, 108))))
    pool.add(PROGRAM, ItemBlock([9], ["109"]))
    pool.add(PROGRAM, ItemBlock([16, 19], ["116", "119"]))

    assert take_unstarted(pool, in_flight) == ["run-1_1", "run-1_2"]

    left = pool.backlog.blocks("run-1")
    assert [item for block in left for item in block.items] == [(2, "102"), (3, "103"), (16, "116"), (19, "119")]
    assert pool.waiting == 4
    assert sorted(in_flight.ids()) == ["run-1_0", "run-1_4"]
    assert take_unstarted(pool, in_flight) == []


def test_a_pool_that_has_nothing_of_a_held_batch_gives_nothing_back(pool: Pool) -> None:
    """Its results may be on their way to the output; and what waits of a run that was dropped is not touched."""
    pool.add(PROGRAM, ItemBlock([0, 1], ["0", "1"]))

    assert take_unstarted(pool, holding(a_run("run-2"), 0)) == []
    assert pool.waiting == 2


def test_what_waits_twice_makes_no_batch_whole(pool: Pool) -> None:
    """A run was cancelled and resumed: a child gives back what was claimed anew meanwhile. 13 and 14 are begun."""
    for indexes in ([12, 15], [12, 15], [15]):
        pool.add(PROGRAM, ItemBlock(indexes, [str(index) for index in indexes]))

    assert take_unstarted(pool, holding(a_run(items=20), 3)) == []
