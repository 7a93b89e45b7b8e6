"""The supervisor outlives what the system refuses, and mends what lives but does not serve."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sheaf.broker import keys
from sheaf.embedded.state import ClusterState, Places
from tests.console import Console, processes_of, wait_until

#: Seconds that a busy machine may take for anything here.
SOON_S = 60


@pytest.fixture
def own(console: Console, redis_program: Path) -> Iterator[Console]:
    """A person with a cluster of one worker, who ends with none, and with a folder for tasks."""
    (console.folder / "tasks").mkdir()
    (console.folder / "tasks/t.py").write_text(
        "def f(x):\n    return x\n\ndef keep(x):\n    with open('kept.txt', 'a') as file:\n        file.write(x)\n"
    )
    console.run("up", "--workers", "1")
    yield console
    console.run("down")
    assert processes_of(console.data) == {}


def works(own: Console, name: str) -> None:
    """Two items go through."""
    assert "Done: 2 items" in own.run("map", "t:f", "-", "-o", f"{name}.jsonl", given=f"{name}\nb\n").stdout


def supervisor_of(own: Console) -> int:
    pid: int = own.cluster()["supervisor"][0]
    return pid


def socket_of(own: Console) -> Path:
    return Path(own.cluster()["redis_url"].removeprefix("unix://"))


def test_a_supervisor_that_may_open_nothing_more_waits_until_it_may(own: Console) -> None:
    """EMFILE while a worker and Redis have to be started again: no process ends, and all comes back."""
    supervisor, before = supervisor_of(own), own.pids()
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    log = own.data / ".sheaf/supervisor.log"
    wait_until(lambda: "Too many open files" in log.read_text(), SOON_S, "the supervisor could not start something")
    time.sleep(2)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)

    old = set(before.values())
    wait_until(lambda: len(set(own.pids().values()) - old) == 2, SOON_S, "all run again")
    works(own, "a")
    assert supervisor_of(own) == supervisor
    assert "cluster  worker-1 ended with signal 9 (SIGKILL)" in own.run("status").stdout


@pytest.mark.parametrize("odd", ["", "many", "-3", "99999999", "a folder", "gone", "the folder is away"])
def test_a_wanted_number_that_cannot_be_read_changes_nothing(own: Console, odd: str) -> None:
    """The cluster goes on as it was; a readable number counts again."""
    before, supervisor = own.pids(), supervisor_of(own)
    folder = own.data / ".sheaf"
    file, log = folder / "workers", folder / "supervisor.log"
    if odd == "the folder is away":
        folder.rename(own.data / "away")
        os.kill(supervisor, signal.SIGHUP)
        time.sleep(2)
        (own.data / "away").rename(folder)
    else:
        file.unlink()
        if odd == "a folder":
            file.mkdir()
        elif odd != "gone":
            file.write_text(odd)
        os.kill(supervisor, signal.SIGHUP)
        wait_until(lambda: "cannot read the wanted number of workers" in log.read_text(), SOON_S, "it is said")

    works(own, "a")
    assert own.pids() == before
    if odd == "a folder":
        file.rmdir()
    own.run("up", "--workers", "2")
    assert supervisor_of(own) == supervisor
    assert sorted(own.pids()) == ["redis", "worker-1", "worker-2"]


@pytest.mark.parametrize("swept", ["the socket", "its folder"])
def test_a_swept_socket_is_made_anew(own: Console, swept: str) -> None:
    """A cleaner of /tmp: Redis is alive but cannot be reached. The supervisor starts it again at the same place."""
    before, socket = own.pids(), socket_of(own)
    socket.unlink()
    if swept == "its folder":
        for file in socket.parent.iterdir():
            file.unlink()
        socket.parent.rmdir()

    wait_until(lambda: own.pids().get("redis", before["redis"]) != before["redis"], SOON_S, "another Redis runs")
    wait_until(socket.exists, SOON_S, "it listens")

    works(own, "a")
    assert own.pids()["worker-1"] == before["worker-1"]
    assert "is gone; restarting it" in own.run("status").stdout
    assert socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_redis_that_does_not_answer_is_started_again(own: Console) -> None:
    """SIGSTOP represents whatever makes it hang."""
    before = own.pids()["redis"]
    os.kill(before, signal.SIGSTOP)

    wait_until(lambda: own.pids().get("redis", before) != before, SOON_S, "another Redis runs")

    works(own, "a")
    assert "takes a question and gives no answer for" in own.run("status").stdout


def test_a_redis_whose_file_is_damaged_starts_empty_at_once(own: Console) -> None:
    """Damaged while the cluster lives, noticed when Redis is next started: put aside, and it serves within seconds."""
    works(own, "a")
    for file in (own.data / ".sheaf/redis").rglob("*.aof"):
        file.write_bytes(b"*3\r\nnonsense that is no log of commands\r\n" * 10)
    os.kill(own.pids()["redis"], signal.SIGKILL)
    killed = time.monotonic()

    wait_until((own.data / ".sheaf/redis.unreadable-1").is_dir, SOON_S, "what it kept is put aside")

    works(own, "b")
    assert time.monotonic() - killed < 30
    assert not (own.data / ".sheaf/redis.unreadable-2").exists()
    log = (own.data / ".sheaf/supervisor.log").read_text()
    assert log.count('"child": "redis"') <= 10, "it is not started again and again in vain"
    assert "Redis cannot start from its file" in own.run("status").stdout


def test_workers_that_cannot_be_seen_are_not_called_absent(own: Console) -> None:
    """A Redis that takes no changes forgets living workers: status and watch say why, and who lives."""
    worker = own.pids()["worker-1"]
    with redis.Redis.from_url(own.cluster()["redis_url"]) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        client.config_set("replica-read-only", "no")
        client.delete(*client.keys(f"{keys.WORKER_PREFIX}*"), keys.WORKERS)
        client.config_set("replica-read-only", "yes")

        shown = own.run("status").stdout
        script = "import sheaf; c = sheaf.Cluster(data='data'); print(list(c.map(abs, [1])))"
        program = subprocess.run(
            [sys.executable, "-c", script], cwd=own.folder, env=own.environment, capture_output=True, text=True
        )

        client.execute_command("REPLICAOF", "NO", "ONE")
    assert f"Worker-1 (pid {worker}) live, but cannot show it: this Redis is read-only" in shown
    assert "No workers" not in shown
    assert "but cannot show it: this Redis is read-only" in program.stderr
    works(own, "a")


@pytest.mark.serial
def test_up_says_what_it_waits_for_and_ctrl_c_ends_that(own: Console) -> None:
    """A supervisor that hangs: within seconds it is said what is missing, and the waiting can be ended."""
    os.kill(supervisor_of(own), signal.SIGSTOP)
    began = time.monotonic()
    waiting = own.start("up", "--workers", "3")
    assert waiting.stderr is not None

    said = waiting.stderr.readline()

    assert "waiting for 3 workers, of which 1 run" in said
    assert time.monotonic() - began < 15
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=SOON_S)
    assert waiting.returncode == 130
    os.kill(supervisor_of(own), signal.SIGCONT)
    wait_until(lambda: len(own.pids()) == 4, SOON_S, "the three workers run")


def test_ctrl_c_while_a_cluster_comes_up_stops_it(console: Console, redis_program: Path) -> None:
    """What says "interrupted" has left nothing behind."""
    process = console.start("up", "--workers", "2")
    wait_until((console.data / ".sheaf/supervisor.log").exists, SOON_S, "the supervisor is started")

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SOON_S)

    if process.returncode == 0:
        console.run("down")
        pytest.skip("it was up before it could be interrupted")
    assert process.returncode == 130
    assert "what was started is stopped again" in said
    assert processes_of(console.data) == {}
    assert not (console.data / ".sheaf/cluster.json").exists()


def test_relative_paths_of_tasks_lead_into_the_data_folder(own: Console) -> None:
    """As in containers, and not to / or to wherever `sheaf up` was called."""
    own.run("map", "t:keep", "-", "-o", "kept.jsonl", given="x\n")

    assert (own.data / "kept.txt").read_text() == "x"


def test_a_local_clusters_prints_come_out_at_the_program(console: Console, redis_program: Path) -> None:
    """What a task prints is seen where the program's own errors are; the workers' logs are not."""
    script = console.folder / "prog.py"
    script.write_text(
        "from sheaf import Cluster\n\ndef say(x):\n    print('said', x)\n    return x\n\n"
        "if __name__ == '__main__':\n"
        "    with Cluster.any(1) as cluster:\n        print(sum(cluster.map(say, range(20))))\n"
    )

    done = subprocess.run(
        [sys.executable, script],
        cwd=console.folder,
        env=console.environment,
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert (done.returncode, done.stdout) == (0, "190\n")
    assert sorted(done.stderr.splitlines()) == sorted(f"said {number}" for number in range(20))


def test_cluster_json_of_an_older_supervisor_is_read(own: Console) -> None:
    """It says nothing of troubles and events."""
    path = own.data / ".sheaf/cluster.json"
    state = json.loads(path.read_text())
    del state["troubles"], state["events"]
    path.write_text(json.dumps(state))

    assert "1 worker\n" in own.run("status").stdout
    read = ClusterState.read(Places(own.data))
    assert read is not None
    assert (list(read.workers()), read.troubles, read.events) == (["worker-1"], (), ())
