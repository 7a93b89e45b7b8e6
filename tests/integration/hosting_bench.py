"""Workers that host, and programs, for the tests of hosted processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.settings import Settings
from tests.integration.bench import Bench
from tests.integration.programs import HostingProgram
from tests.support import RedisServer

#: Seconds for what takes a tenth of one on a quiet machine.
SOON_S = 120


@pytest.fixture
def bench(tmp_path: Path, own_redis_server: RedisServer) -> Iterator[Bench]:
    site: Any = None
    made = Bench(tmp_path, own_redis_server, site)
    yield made
    for worker in made.workers:
        worker.kill()
        worker.wait()
        if worker.stderr is not None:
            worker.stderr.close()


def serve(bench: Bench, workers: int = 1, **settings: str) -> Settings:
    """Start workers; return the settings of a program that uses them, wherever it is started."""
    return dataclasses.replace(bench.serve(workers, **settings), data_dir=bench.person.data)


@pytest.fixture
def program(bench: Bench) -> Iterator[HostingProgram]:
    """On one worker with a pool of one."""
    made = HostingProgram(serve(bench))
    yield made
    made.close()
