from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf_worker.pool.pool import Pool
from tests.integration.pool.helpers import MakePool


@pytest.fixture
def tasks_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name in ("pool_tasks.py", "pool_tasks_many.py"):
        shutil.copy(Path(__file__).with_name(name), folder)
    return folder


@pytest.fixture
def make_pool(tasks_dir: Path) -> Iterator[MakePool]:
    pools: list[Pool] = []

    def make(size: int = 2, *, child_items: int = 0, child_memory_mb: int = 0) -> Pool:
        pool = Pool(size, tasks_dir=tasks_dir, child_items=child_items, child_memory_mb=child_memory_mb)
        pools.append(pool)
        pool.start()
        return pool

    yield make
    for pool in pools:
        pool.close(grace_s=0)
