"""A cluster, as `sheaf up` starts it, and the local site to load from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import RedisUnavailable
from sheaf.embedded import find_redis_server
from tests.console import Console, Site


@pytest.fixture(scope="session")
def redis_program() -> Path:
    """None installed: skipped on a laptop, a failure where CI=true."""
    try:
        return find_redis_server()
    except RedisUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    served = Site(tmp_path_factory.mktemp("site"))
    yield served
    served.close()


@pytest.fixture
def console(tmp_path: Path) -> Console:
    """A person in an empty folder: no data folder, no cluster."""
    return Console(tmp_path)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, redis_program: Path) -> Iterator[Console]:
    """A running cluster of two workers, shared by the tests here, each of which takes an output of its own."""
    person = Console(tmp_path_factory.mktemp("cluster"))
    person.run("up", "--workers", "2")
    yield person
    person.run("down")
