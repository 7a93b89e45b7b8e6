"""A real Redis for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from sheaf import Cluster
from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import RedisUnavailable
from sheaf.embedded import find_redis_server
from sheaf.tasks.load import failure
from tests.console import Site
from tests.integration.bench import Bench
from tests.integration.peers import ProgramAtWork, WhenDone, interrupted
from tests.support import ForeignServer, RedisServer, ReplyLosingProxy
from tests.webserver import WebServer

#: The tasks of these tests are beside them.
TASKS = Path(__file__).parent


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A fresh redis-server that the test may kill. None installed: skipped on a laptop, a failure where CI=true."""
    try:
        program = find_redis_server()
    except RedisUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    server = RedisServer(program)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer | ForeignServer]:
    """An empty Redis: one of our own, or the one at SHEAF_TEST_REDIS_URL (its data is deleted)."""
    url = os.environ.get("SHEAF_TEST_REDIS_URL")
    if url is None:
        yield request.getfixturevalue("own_redis_server")
        return
    server = ForeignServer(url)
    with server.client() as client:
        client.flushall()
        yield server
        client.config_set("maxmemory", 0)
        client.flushall()


@pytest.fixture
def connection(redis_server: RedisServer | ForeignServer) -> Iterator[redis.Redis]:
    """A client such as the project's own processes make."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def losing_proxy(redis_server: RedisServer | ForeignServer) -> Iterator[ReplyLosingProxy]:
    """A way to the same Redis that loses a reply when asked to."""
    proxy = ReplyLosingProxy(redis_server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def queue(connection: redis.Redis) -> Iterator[BatchQueue]:
    queue = BatchQueue(connection)
    yield queue
    queue.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    served = Site(tmp_path_factory.mktemp("site"))
    yield served
    served.close()


@pytest.fixture
def bench(tmp_path: Path, own_redis_server: RedisServer, site: Site) -> Iterator[Bench]:
    made = Bench(tmp_path, own_redis_server, site)
    yield made
    for process in made.workers:
        process.kill()
        process.communicate()


@pytest.fixture
def cluster(bench: Bench) -> Iterator[Cluster]:
    """Two workers with short leases, and a way to them."""
    settings = bench.serve(2, SHEAF_TASKS_DIR=str(TASKS))
    with Cluster(settings, data=bench.person.data) as made:
        yield made


@pytest.fixture
def server() -> Iterator[WebServer]:
    """A web server that answers as the test tells it."""
    with WebServer() as running:
        yield running


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded again is loaded again at once."""
    monkeypatch.setattr(failure, "_FIRST_WAIT_S", 0.02)


@pytest.fixture
def programs(redis_server: RedisServer | ForeignServer) -> Iterator[Callable[[], ProgramAtWork]]:
    """Makes programs that share objects through one Redis."""
    made: list[ProgramAtWork] = []

    def make() -> ProgramAtWork:
        made.append(ProgramAtWork(redis_server.url))
        return made[-1]

    yield make
    for program in made:
        program.close()


@pytest.fixture
def when_done() -> WhenDone:
    return interrupted


@pytest.fixture
def work(programs: Callable[[], ProgramAtWork]) -> ProgramAtWork:
    """A program whose processes are plain ones."""
    return programs()
