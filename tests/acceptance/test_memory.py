"""Memory stays small whatever the run's size: a worker's, and Redis's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.console import Console, Site

MIB = 2**20


@pytest.fixture
def own(console: Console, redis_program: Path) -> Iterator[Console]:
    """A person with a cluster of their own, its pool sized as by default: one process per core."""
    console.environment["SHEAF_POOL_SIZE"] = "0"
    yield console
    console.run("down")


def tree_bytes(pid: int) -> int:
    """The proportional set size of a process and all its descendants: what ending them would give back."""
    total = 0
    try:
        total += int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0]) * 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return total  # it ended while we looked
    return total + sum(tree_bytes(int(child)) for child in children)


def test_a_worker_stays_under_300_mb_while_100_mb_of_pages_go_through(own: Console, site: Site) -> None:
    """Two workers, over 100 MB of pages to an uncompressed file: each worker with its pool keeps under 300 MB."""
    own.run("up", "--workers", "2")
    name = own.list_file("urls.txt", *site.pages(3800))
    workers = [pid for name, pid in own.pids().items() if name != "redis"]
    peak = dict.fromkeys(workers, 0)
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.05):
            for pid in workers:
                peak[pid] = max(peak[pid], tree_bytes(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    own.run("load", name, "-o", "pages.warc", "--allow-net", "127.0.0.0/8")
    over.set()
    sampler.join()

    assert (own.data / "pages.warc").stat().st_size > 100 * MIB
    assert all(20 * MIB < value < 300 * MIB for value in peak.values()), peak


def test_redis_stays_under_20_mb_for_a_million_urls(own: Console) -> None:
    """A million URLs submitted with --detach and no worker to take them: Redis holds references to a bounded part."""
    own.run("up", "--workers", "0")
    with open(own.folder / "urls.txt", "w") as lines:
        lines.writelines(f"http://example.org/{number}\n" for number in range(1_000_000))

    own.run("load", "urls.txt", "--detach")

    with redis.Redis.from_url(own.cluster()["redis_url"]) as client:
        memory = client.info("memory")
        queued = client.llen("rq:queue:sheaf")
    assert queued > 1000
    assert memory["used_memory_peak"] < 20 * MIB
