"""The stack as a person uses it: lists in, one output out, whatever is killed on the way."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from tests.compose.stack import WORKERS, Stack, docker, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

#: Seconds after a kill within which everything is in the output.
RECOVERY_S = 30


def pages_of(stack: Stack, count: int) -> list[str]:
    """The SHA-256 of each of the local site's pages, as the site itself tells it."""
    return [line.split()[1] for line in stack.site(f"/sums?count={count}").strip().splitlines()]


def digests_in(warc: Path) -> Counter[str]:
    """How often each body is in the file, by SHA-256, read by a program that shares no code with ours."""
    found: Counter[str] = Counter()
    with open(warc, "rb") as stream:
        for record in ArchiveIterator(stream):
            if record.rec_type == "response":
                found[hashlib.sha256(record.content_stream().read()).hexdigest()] += 1
    return found


def assert_each_page_once(stack: Stack, name: str, count: int, folder: Path) -> None:
    """Our own check in the stack, then two checks by others of the file on the host."""
    verified = stack.producer("verify", name)
    assert f"{count:,}" in verified.stdout or str(count) in verified.stdout
    warc = stack.fetch(name, folder)
    checked = subprocess.run([Path(sys.executable).with_name("warcio"), "check", warc], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert digests_in(warc) == Counter(pages_of(stack, count))


def requests_served(stack: Stack) -> int:
    return int(json.loads(stack.site("/stats"))["requests"])


def test_a_list_in_a_file_becomes_one_output_made_by_all_workers(stack: Stack, tmp_path: Path) -> None:
    """`producer load urls.txt` with three workers: 5,000 pages, each once, and `status` names three workers."""
    (stack.lists / "urls.txt").write_text(stack.urls(5000, "?latency=20"))

    stack.producer("load", "urls.txt", "-o", "pages.warc.gz", "--allow-net", stack.site_net)

    status = stack.producer("status", "last").stdout
    names = [worker["Config"]["Hostname"] for worker in stack.containers("worker")]
    assert len(names) == WORKERS
    assert [name for name in names if name in status] == names, status
    assert_each_page_once(stack, "pages.warc.gz", 5000, tmp_path)


def test_a_list_can_be_piped_in(stack: Stack, tmp_path: Path) -> None:
    """`producer load -` with -T reads the list from standard input."""
    stack.producer("load", "-", "-o", "piped.warc", "--allow-net", stack.site_net, given=stack.urls(300))

    assert_each_page_once(stack, "piped.warc", 300, tmp_path)


def test_the_combined_html_file_holds_each_page_once_and_whole(stack: Stack, tmp_path: Path) -> None:
    """The model programs' combined file: UTF-8, every page from its first line to its last."""
    stack.producer("load", "-", "-o", "pages.html", "--allow-net", stack.site_net, given=stack.urls(200))

    text = stack.fetch("pages.html", tmp_path).read_text(encoding="utf-8")
    for number in range(200):
        assert text.count(f"<title>Page {number}</title>") == 1
        assert text.count(f"<!-- end of page {number} -->") == 1


def start_load(stack: Stack, name: str, count: int) -> subprocess.Popen[str]:
    """Start a load that takes some seconds, and return when it is well under way."""
    (stack.lists / f"{name}.txt").write_text(stack.urls(count, "?latency=400"))
    net = stack.site_net
    before = requests_served(stack)
    producer = stack.start_producer(
        "load", f"{name}.txt", "-o", f"{name}.warc.gz", "--connections", "16", "--allow-net", net
    )
    wait_until(lambda: requests_served(stack) - before > count // 10, 60, "the load is under way")
    assert producer.poll() is None
    return producer


def assert_recovers(stack: Stack, producer: subprocess.Popen[str], killed: float) -> None:
    output, _ = producer.communicate(timeout=120)
    assert producer.returncode == 0, output
    assert time.monotonic() - killed < RECOVERY_S, output


def test_a_killed_worker_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    """kill -9 of a worker's main process, from the host, in mid-run: each page once within 30 s; it comes back."""
    producer = start_load(stack, "killed-worker", 3000)
    victim = stack.containers("worker")[0]

    killed = time.monotonic()
    stack.kill_process(victim["State"]["Pid"])

    assert_recovers(stack, producer, killed)
    assert_each_page_once(stack, "killed-worker.warc.gz", 3000, tmp_path)
    wait_until(lambda: healthy(stack) == WORKERS, 60, "the killed worker's container is back")
    assert docker("inspect", "-f", "{{.RestartCount}}", victim["Id"]).strip() == "1"


def healthy(stack: Stack) -> int:
    return sum(worker["State"].get("Health", {}).get("Status") == "healthy" for worker in stack.containers("worker"))


def test_a_killed_pool_child_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    """kill -9 of a process of a worker's pool in mid-run: each page once, and no worker restarts."""
    producer = start_load(stack, "killed-child", 3000)
    worker = stack.containers("worker")[0]
    child = pool_children(worker)[0]

    killed = time.monotonic()
    stack.kill_process(child)

    assert_recovers(stack, producer, killed)
    assert child not in pool_children(worker)
    assert_each_page_once(stack, "killed-child.warc.gz", 3000, tmp_path)
    assert docker("inspect", "-f", "{{.State.StartedAt}}", worker["Id"]).strip() == worker["State"]["StartedAt"]


def pool_children(worker: dict[str, Any]) -> list[int]:
    """The pids, as the host sees them, of a worker's pool."""
    lines = docker("top", worker["Id"], "-eo", "pid,args").splitlines()
    children = [int(line.split()[0]) for line in lines if "spawn_main" in line]
    assert children, lines
    return children


def test_a_worker_that_is_scaled_away_hands_its_work_back(stack: Stack, tmp_path: Path) -> None:
    """`--scale worker=1` in mid-run: two workers end in peace, the third does the rest."""
    producer = start_load(stack, "scaled", 3000)

    before = time.monotonic()
    stack.compose("up", "-d", "--no-recreate", "--scale", "worker=1")

    assert_recovers(stack, producer, before)
    assert_each_page_once(stack, "scaled.warc.gz", 3000, tmp_path)
    stack.compose("up", "-d", "--wait", "--no-recreate", "--scale", f"worker={WORKERS}")


def test_a_redis_that_is_killed_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    """kill -9 of Redis in mid-run: it is started again by the engine, the workers come back to it, each page once."""
    producer = start_load(stack, "killed-redis", 3000)

    killed = time.monotonic()
    stack.kill_process(stack.containers("redis")[0]["State"]["Pid"])

    assert_recovers(stack, producer, killed)
    assert_each_page_once(stack, "killed-redis.warc.gz", 3000, tmp_path)
