"""`sheaf up` and `sheaf down`: a cluster that outlives its terminal, and leaves nothing when it goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import Console, Site, processes_of, wait_until


@pytest.fixture
def own(console: Console, redis_program: Path) -> Iterator[Console]:
    """A person who ends with no cluster running."""
    yield console
    console.run("down")
    assert processes_of(console.data) == {}


def test_up_is_idempotent_and_changes_the_number_of_workers(own: Console) -> None:
    """Up, again with more, again with fewer; `down` leaves no process, no socket and no address behind."""
    assert "Redis and 1 worker " in own.run("up", "--workers", "1").stdout
    first = own.cluster()

    own.run("up", "--workers", "3")
    assert sorted(own.pids()) == ["redis", "worker-1", "worker-2", "worker-3"]
    assert own.cluster()["supervisor"] == first["supervisor"]
    own.run("up", "--workers", "1")
    assert own.cluster() == first

    assert "Sheaf is down" in own.run("down").stdout
    assert processes_of(own.data) == {}
    assert not Path(first["redis_url"].removeprefix("unix://")).parent.exists()
    assert "start one with `sheaf up`" in own.refused("load", "-", given="http://example.org", status=1)
    assert "No cluster was running" in own.run("down").stdout


def test_what_dies_is_started_again(own: Console, site: Site) -> None:
    """kill -9 of a worker and of Redis in mid-run: both come back, and the run completes."""
    own.run("up", "--workers", "2")
    name = own.list_file("urls.txt", *site.pages(150, latency=200))
    own.run("load", name, "--detach", "--connections", "4", "--batch-size", "5", "--allow-net", "127.0.0.0/8")
    before = own.pids()

    os.kill(before["worker-1"], signal.SIGKILL)
    os.kill(before["redis"], signal.SIGKILL)

    wait_until(
        lambda: not {before["worker-1"], before["redis"]} & set(own.pids().values()) and len(own.pids()) == 3,
        60,
        "worker and Redis are back",
    )
    assert "Done: 150 pages" in own.run("watch").stdout
    assert "0 missing" in own.run("verify", "pages.warc.gz").stdout


def test_a_watcher_finds_a_cluster_that_was_started_again(own: Console, site: Site) -> None:
    """By another socket: who watches sees workers and the end again, and need not be started anew."""
    own.run("up", "--workers", "1")
    name = own.list_file("urls.txt", *site.pages(300, latency=200))
    watching = own.start(
        "load", name, "--connections", "2", "--batch-size", "5", "--allow-net", "127.0.0.0/8", "-o", "p.jsonl"
    )
    wait_until(lambda: (own.data / "p.jsonl").exists() and (own.data / "p.jsonl").stat().st_size > 0, 60, "it works")
    own.run("down")
    own.run("up", "--workers", "1")

    out, said = watching.communicate(timeout=120)

    assert watching.returncode == 0, said
    assert "Done: 300 pages" in out
    after = said[said.rindex("problem: ") :]
    assert "the problem is over" in after, said


def test_a_killed_supervisor_takes_its_cluster_along_and_up_starts_anew(own: Console, site: Site) -> None:
    """No process is left over, the commands say what to do, and the unfinished run goes on after `up`."""
    own.run("up", "--workers", "1")
    name = own.list_file("urls.txt", *site.pages(60, latency=300))
    own.run("load", name, "--detach", "--connections", "4", "--batch-size", "5", "--allow-net", "127.0.0.0/8")

    socket = Path(own.cluster()["redis_url"].removeprefix("unix://"))
    os.kill(own.cluster()["supervisor"][0], signal.SIGKILL)

    wait_until(lambda: processes_of(own.data) == {}, 60, "the cluster's processes end")
    assert "`sheaf up`" in own.refused("load", "-", given="http://example.org", status=1)
    own.run("up", "--workers", "1")
    assert not socket.parent.exists()
    assert "Done: 60 pages" in own.run("watch").stdout


def test_traces_of_an_earlier_boot_are_harmless(own: Console) -> None:
    """cluster.json names pids that belong to strangers now: they are left alone, and `up` and `down` work."""
    stranger = subprocess.Popen(["sleep", "120"])
    bystander = stranger.pid
    (own.data / ".sheaf").mkdir(parents=True)
    stale = {
        "redis_url": "unix:///nowhere/redis.sock",
        "supervisor": [bystander, "another-boot/1"],
        "processes": {"redis": [bystander, "another-boot/2"], "worker-1": [bystander, "another-boot/3"]},
    }
    (own.data / ".sheaf/cluster.json").write_text(json.dumps(stale))

    assert "does not answer" in own.refused("load", "-", given="http://example.org", status=1)
    assert "No cluster was running" in own.run("down").stdout
    (own.data / ".sheaf/cluster.json").write_text(json.dumps(stale)[:50])
    own.run("up", "--workers", "1")

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    assert own.cluster()["supervisor"][0] != bystander


def test_a_redis_that_cannot_read_what_it_kept_starts_empty(own: Console) -> None:
    """Nothing is lost by that: the truth is on the volume. What it kept is put aside, not deleted."""
    own.run("up", "--workers", "0")
    own.run("down")
    (kept,) = (own.data / ".sheaf/redis").rglob("*.aof")
    kept.write_bytes(b"*3\r\nnonsense that is no log of commands\r\n" * 10)

    own.run("up", "--workers", "0")

    assert (own.data / ".sheaf/redis.unreadable-1").is_dir()


def test_in_the_foreground_ctrl_c_ends_it_in_order(own: Console) -> None:
    """For those who want to see it go."""
    process = own.start("up", "--foreground", "--workers", "1")
    wait_until(lambda: (own.data / ".sheaf/cluster.json").exists() and len(own.pids()) == 2, 60, "it is up")

    process.send_signal(signal.SIGINT)

    process.communicate(timeout=60)
    assert process.returncode == 0
    assert processes_of(own.data) == {}
