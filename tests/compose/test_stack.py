"""The stack as a person uses it: lists in, one output out, whatever is killed on the way."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from tests.compose.stack import WORKERS, Stack, docker, log_of, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

#: Seconds after a kill within which everything is in the output, on a machine that is busy with other things.
RECOVERY_S = 90
#: What the engine gives a worker that is asked to stop (`stop_grace_period`); the command itself takes a while, too.
GRACE_S = 60
#: A worker's line in `sheaf status last`: its container's name (then what distinguishes its boots), and its items.
SHARE = re.compile(r"^  ([0-9a-f]{12})-[0-9a-f]{8} +([0-9,]+) items?  ", re.MULTILINE)

#: Prints whether simdjson is there, how often it and Python differ, and of how many texts.
TELL_UTF8 = """
import random
from sheaf.formats.utf8 import is_decodable, is_utf8, simdjson
chance, differing = random.Random(5), 0
for _ in range(2000):
    text = bytearray("".join(chance.choices("aé€\U0001f600", k=chance.randrange(1, 200))).encode())
    text[chance.randrange(len(text))] ^= chance.choice((0, 1, 0x80))
    text = bytes(text[: chance.randrange(1, len(text) + 1)])
    differing += is_utf8(text) is not is_decodable(text)
print(simdjson() is not None, differing, 2000)
"""


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
    """Our own check in the stack, then two checks by others of the file on the host; and no right was missing."""
    verified = stack.producer("verify", name).stdout.splitlines()
    assert verified[1:] == [
        f"  {count:,} items: {count:,} done, 0 failed, 0 missing, 0 duplicate, 0 torn",
        "OK: every item is in the file once and whole, or among the failures.",
    ]
    warc = stack.fetch(name, folder)
    checked = subprocess.run([Path(sys.executable).with_name("warcio"), "check", warc], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert digests_in(warc) == Counter(pages_of(stack, count))
    assert stack.denials() == []


def requests_served(stack: Stack) -> int:
    return int(json.loads(stack.site("/stats"))["requests"])


def test_a_list_in_a_file_becomes_one_output_made_by_all_workers(stack: Stack, tmp_path: Path) -> None:
    """`producer load urls.txt` with three workers: 5,000 pages, each once, and `status` names three workers."""
    (stack.lists / "urls.txt").write_text(stack.urls(5000, "?latency=20"))

    loaded = stack.producer("load", "urls.txt", "-o", "pages.warc.gz", "--allow-net", stack.site_net)

    # What it says to type can be typed where it is read.
    assert "Check it:   docker compose run --rm producer verify /data/pages.warc.gz" in loaded.stdout
    status = stack.producer("status", "last").stdout
    names = {worker["Config"]["Hostname"] for worker in stack.containers("worker")}
    shares = {name: int(items.replace(",", "")) for name, items in SHARE.findall(status)}
    assert len(names) == WORKERS
    assert shares.keys() == names, status
    assert min(shares.values()) > 0
    assert sum(shares.values()) == 5000
    assert_each_page_once(stack, "pages.warc.gz", 5000, tmp_path)


def test_a_list_can_be_piped_in(stack: Stack, tmp_path: Path) -> None:
    """`producer load -` with -T reads the list from standard input."""
    stack.producer("load", "-", "-o", "piped.warc", "--allow-net", stack.site_net, given=stack.urls(300))

    assert_each_page_once(stack, "piped.warc", 300, tmp_path)


def test_the_image_tells_utf8_with_simdjson(stack: Stack) -> None:
    """And the library says what Python says, of texts that are whole, spoiled and cut."""
    assert stack.python("worker", TELL_UTF8).split() == ["True", "0", "2000"]


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
    """kill -9 of a worker's main process, from the host, in mid-run: each page once; it comes back."""
    producer = start_load(stack, "killed-worker", 2000)
    victim = stack.containers("worker")[0]

    killed = time.monotonic()
    stack.kill_process(victim["State"]["Pid"])

    assert_recovers(stack, producer, killed)
    assert_each_page_once(stack, "killed-worker.warc.gz", 2000, tmp_path)
    wait_until(lambda: healthy(stack) == WORKERS, 60, "the killed worker's container is back")
    assert docker("inspect", "-f", "{{.RestartCount}}", victim["Id"]).strip() == "1"


def healthy(stack: Stack) -> int:
    return sum(worker["State"].get("Health", {}).get("Status") == "healthy" for worker in stack.containers("worker"))


@pytest.mark.parametrize("service", ["redis", "worker", "site"])
def test_a_service_that_is_well_is_seldom_asked(stack: Stack, service: str) -> None:
    """Each check costs CPU time; one that finds something wrong is repeated at once all the same."""

    def waited_in_a_check() -> bool:
        checks = stack.containers(service)[0]["State"]["Health"]["Log"]
        return any((moment(check["End"]) - moment(check["Start"])).total_seconds() >= 25 for check in checks)

    container = stack.containers(service)[0]
    program = container["Config"]["Healthcheck"]["Test"][3].replace("sleep 25", "true")
    wait_until(waited_in_a_check, 60, "a check that waits first")

    # In one go: the engine's own checks go on meanwhile.
    look = 'for check in false true; do sh -c "$0" well $check; echo $?; ls /tmp; echo ====; done'
    failed, succeeded, _ = docker("exec", container["Id"], "sh", "-c", look, program).split("====\n")
    assert failed.split()[0] == "1" and "well" not in failed.split()
    assert succeeded.split()[0] == "0" and "well" in succeeded.split()


def moment(text: str) -> datetime:
    """The engine writes nanoseconds, and this host's zone."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


def test_a_killed_pool_child_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    """kill -9 of a process of a worker's pool in mid-run: each page once, and no worker restarts."""
    producer = start_load(stack, "killed-child", 2000)
    worker = stack.containers("worker")[0]
    child = pool_children(worker)[0]

    killed = time.monotonic()
    stack.kill_process(child)

    assert_recovers(stack, producer, killed)
    assert child not in pool_children(worker)
    assert_each_page_once(stack, "killed-child.warc.gz", 2000, tmp_path)
    assert docker("inspect", "-f", "{{.State.StartedAt}}", worker["Id"]).strip() == worker["State"]["StartedAt"]


def pool_children(worker: dict[str, Any]) -> list[int]:
    """The pids, as the host sees them, of a worker's pool."""
    lines = docker("top", worker["Id"], "-eo", "pid,args").splitlines()
    children = [int(line.split()[0]) for line in lines if "spawn_main" in line]
    assert children, lines
    return children


def test_a_worker_that_is_scaled_away_hands_its_work_back(stack: Stack, tmp_path: Path) -> None:
    """`--scale worker=1` in mid-run: two workers end in peace, the third does the rest."""
    # One worker is left, with 2 processes of 16 connections: 80 pages a second.
    producer = start_load(stack, "scaled", 1000)

    before = time.monotonic()
    stack.compose("up", "-d", "--no-recreate", "--scale", "worker=1")

    assert_recovers(stack, producer, before)
    assert_each_page_once(stack, "scaled.warc.gz", 1000, tmp_path)
    stack.compose("up", "-d", "--wait", "--no-recreate", "--scale", f"worker={WORKERS}")


def test_workers_that_are_stopped_end_in_peace_and_go_on_later(stack: Stack, tmp_path: Path) -> None:
    """`docker compose stop worker` in mid-run: all exit with 0 in time, none is listed; after `start`: all is done."""
    producer = start_load(stack, "stopped", 2000)
    workers = stack.containers("worker")

    before = time.monotonic()
    stack.compose("stop", "worker")
    took_s = time.monotonic() - before
    exits = {json.loads(docker("inspect", worker["Id"]))[0]["State"]["ExitCode"] for worker in workers}
    # One that was killed by another test is listed for two minutes, with "no sign of life".
    status = stack.producer("status").stdout
    still_running = producer.poll() is None
    stack.compose("start", "worker")

    for worker in workers:
        assert '"worker stopped"' in log_of(worker["Id"])
    assert exits == {0}
    assert took_s < GRACE_S
    assert not re.search(r"^  [0-9a-f]{12}  (idle|busy|stopping|blocked) ", status, re.MULTILINE), status
    assert still_running
    output, _ = producer.communicate(timeout=120)
    assert producer.returncode == 0, output
    assert_each_page_once(stack, "stopped.warc.gz", 2000, tmp_path)
    wait_until(lambda: healthy(stack) == WORKERS, 60, "the workers are well")


def test_a_redis_that_is_killed_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    """kill -9 of Redis in mid-run: the engine restarts it, the workers come back to it, each page once."""
    producer = start_load(stack, "killed-redis", 2000)

    killed = time.monotonic()
    stack.kill_process(stack.containers("redis")[0]["State"]["Pid"])

    assert_recovers(stack, producer, killed)
    assert_each_page_once(stack, "killed-redis.warc.gz", 2000, tmp_path)
