"""A whole run, of which any one reply from Redis is lost: the result is the same, each page exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import RedisUnavailable
from sheaf.embedded import find_redis_server
from sheaf.output.output import Output
from sheaf.run.run import list_runs
from tests.chaos.proof import FULL, note
from tests.chaos.replies import CountingProxy
from tests.console import Console, Site, wait_until
from tests.support import RedisServer

PAGES = 12
#: Replies that are lost by their place in the run, besides one of each name; all of them where SHEAF_PROOF=full.
SAMPLE = 4
SEED = 20260101
QUICK = {
    "SHEAF_BATCH_LEASE_S": "2",
    "SHEAF_HEARTBEAT_S": "0.5",
    "SHEAF_RECONCILE_S": "0.3",
    "SHEAF_COMMIT_S": "0.1",
    "SHEAF_LOCK_LEASE_S": "2",
}
#: Requests whose replies must be among the lost ones.
EXPECTED = {
    "workers": {"claim", "renew", "finish", "lock_acquire", "lock_release"},
    "producer": {"MULTI enqueue"},
}
#: Runs in which such a request may be missing: on a busy machine a worker puts the batches on the queue first.
TRIES = 10
pytestmark = pytest.mark.timeout(3600 if FULL else 600)


class Cluster:
    """Two workers and a producer, each side with a way of its own to Redis."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.site = Site(folder)
        self.workers_proxy = CountingProxy(server.url)
        self.producer_proxy = CountingProxy(server.url)
        self.person = Console(folder, **QUICK)
        self.person.data.mkdir()
        # One page is slow: leases are renewed meanwhile.
        self.person.list_file("urls.txt", *self.site.pages(PAGES - 1), *self.site.pages(1, first=PAGES, latency=900))
        self.person.environment["SHEAF_REDIS_URL"] = self.workers_proxy.url
        self.workers = [self._worker() for _ in range(2)]
        self.person.environment["SHEAF_REDIS_URL"] = self.producer_proxy.url
        self._serial = 0

    def _worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sheaf_worker"]
        with open(self.person.folder / "workers.log", "ab") as log:
            return subprocess.Popen(command, cwd=self.person.folder, env=self.person.environment, stderr=log)

    def run(self) -> list[str]:
        """Load the pages into a new output; say what is wrong with it, by a look at the file itself."""
        self._serial += 1
        name = f"pages-{self._serial}.jsonl"
        options = ["--allow-net", "127.0.0.0/8", "--batch-size", "2", "--detach"]
        command = ["load", "urls.txt", "-o", name, *options]
        producer = self.person.start(*command)
        producer.communicate(timeout=30)
        if producer.returncode != 0:
            # A person who reads that Redis is away runs the same command again.
            self.person.run(*command)
        wait_until(lambda: self._settled(name) >= PAGES, 60, f"{name} holds {PAGES} pages")
        lines = [json.loads(line) for line in (self.person.data / name).read_text().splitlines()]
        indexes = sorted(line["index"] for line in lines)
        urls = {line["url"] for line in lines}
        wrong = [] if indexes == list(range(PAGES)) and len(urls) == PAGES else [f"{name} holds the items {indexes}"]
        wrong += [f"{len(list_runs(self.person.data))} runs"] * (len(list_runs(self.person.data)) != self._serial)
        return wrong + ["a worker has ended" for worker in self.workers if worker.poll() is not None]

    def _settled(self, name: str) -> int:
        output = Output(self.person.data / name)
        try:
            return sum(progress.done + progress.failed for progress in output.reader.runs().values())
        finally:
            output.close()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.site.close()
        self.workers_proxy.close()
        self.producer_proxy.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        server = RedisServer(find_redis_server())
    except RedisUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    server.start()
    made = Cluster(tmp_path_factory.mktemp("replies"), server)
    assert made.run() == []  # a first run, so that all has started
    yield made
    made.close()
    server.stop()


def lose_each(cluster: Cluster, proxy: CountingProxy, choices: list[Callable[[str, int], bool]]) -> list[str]:
    """One run per choice. Returns the names of the requests whose replies were lost."""
    lost = []
    for chosen in choices:
        proxy.lose_when(chosen)
        assert cluster.run() == [], f"after the reply to {proxy.lost_name} was lost"
        lost.append(proxy.lost_name)
    return lost


def request_called(name: str) -> Callable[[str, int], bool]:
    return lambda found, _number: found == name


def request_at(place: int) -> Callable[[str, int], bool]:
    return lambda _name, number: number == place


def count(cluster: Cluster, proxy: CountingProxy, side: str) -> tuple[list[str], int]:
    """A run of which nothing is lost: its requests' names, among them those that matter most, and their number."""
    for _ in range(TRIES):
        proxy.lose_when(lambda *_: False)
        assert cluster.run() == []
        if EXPECTED[side] <= set(proxy.names):
            break
    return sorted(proxy.names), proxy.requests


@pytest.mark.parametrize("side", EXPECTED)
def test_any_one_reply_may_be_lost(cluster: Cluster, side: str) -> None:
    """The reply to one request of each name, and to some (or all) by their place: each page is there exactly once, the
    workers go on, and a producer that got an error makes no second run when it is run again."""
    # Given a run of which nothing is lost, in which the requests are counted,
    began = time.monotonic()
    proxy = cluster.workers_proxy if side == "workers" else cluster.producer_proxy
    names, requests = count(cluster, proxy, side)
    places = range(1, requests + 1)
    chosen = places if FULL else random.Random(SEED).sample(places, min(SAMPLE, requests))

    # when one reply is lost in each of many runs, then no run's result differs.
    by_name = [request_called(name) for name in names]
    by_place = [request_at(place) for place in chosen]
    lost = lose_each(cluster, proxy, [*by_name, *by_place])
    for name in sorted(EXPECTED[side]) * TRIES:
        if name not in lost:
            lost += lose_each(cluster, proxy, [request_called(name)])

    tried = {"requests of a run": requests, "runs, each with one reply lost": len(lost)}
    note(f"tests/chaos/test_lost_replies.py, {side}", tried, problems=0, began=began)
    print(f"{side}: {requests} requests of {len(names)} names; lost: {lost}")
    assert len([name for name in lost if name]) >= 0.5 * len(lost)
    assert set(lost) >= EXPECTED[side]
