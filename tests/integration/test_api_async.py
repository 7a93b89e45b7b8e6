"""The Python interface from asyncio, and functions that are themselves async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sheaf import Cluster, TaskFailed
from sheaf.core.errors import TaskChanged
from tests.integration.bench import Bench

TASKS = Path(__file__).parent


@pytest.fixture
def cluster(bench: Bench) -> Iterator[Cluster]:
    settings = bench.serve(SHEAF_TASKS_DIR=str(TASKS))
    with Cluster(settings, data=bench.person.data) as made:
        yield made


def test_calls_and_maps_are_awaited(cluster: Cluster) -> None:
    """The event loop goes on meanwhile; items may come from an async iterable; a failure raises, or is given."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(6):
            await asyncio.sleep(0.01)
            yield number

    async def program() -> None:
        calls = [cluster.asubmit("api_tasks:square", number) for number in range(20)]
        assert await asyncio.gather(*calls) == [number * number for number in range(20)]
        assert [value async for value in cluster.amap("api_tasks:square", numbers())] == [0, 1, 4, 9, 16, 25]
        given = [value async for value in cluster.amap("api_tasks:reject_threes", [2, 3], failures="return")]
        assert (given[0], type(given[1])) == (2, TaskFailed)
        with pytest.raises(TaskFailed):
            [value async for value in cluster.amap("api_tasks:reject_threes", [3])]

    asyncio.run(program())


def test_an_async_function_has_many_items_in_flight(cluster: Cluster) -> None:
    """One process, twenty items that wait for each other: they come to an end only if they are all begun."""
    assert sorted(cluster.map("api_tasks:meet", range(20), ordered=False)) == list(range(20))


def test_a_function_that_changes_meanwhile_is_not_mixed(bench: Bench, tmp_path: Path) -> None:
    """What was sent off before the change fails with the reason; what is called afterwards uses the new version."""
    tasks = tmp_path / "own"
    tasks.mkdir()
    (tasks / "own.py").write_text("def version(number):\n    return 1\n")
    settings = bench.serve(SHEAF_TASKS_DIR=str(tasks))
    (worker,) = bench.workers
    with Cluster(settings, data=bench.person.data) as cluster:
        assert cluster.submit("own:version", 0).result(60) == 1
        worker.kill()
        early = cluster.submit("own:version", 0)
        while not early.running():
            pass
        (tasks / "own.py").write_text("def version(number):\n    return 20\n")
        bench.worker(SHEAF_TASKS_DIR=str(tasks))

        with pytest.raises(TaskChanged, match=r"own\.py has changed"):
            early.result(60)
        assert cluster.submit("own:version", 0).result(60) == 20
