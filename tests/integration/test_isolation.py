"""Items that take their worker along, and workers that are killed from outside."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sheaf.broker import keys
from sheaf.broker.suspects import Note, Notes
from sheaf.output.output import Output
from sheaf.run.run import Run
from tests.integration.bench import Bench

TASKS = """
import os, signal, time

def act(text):
    if text == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(10)
    if text.startswith("slow"):
        time.sleep(0.1)
    return text
"""


@pytest.fixture
def quick(bench: Bench) -> Bench:
    """A bench whose leases run out after a second, and whose workers have the task."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    (tasks / "deadly.py").write_text(TASKS)
    bench.person.environment |= {
        "SHEAF_TASKS_DIR": str(tasks),
        "SHEAF_POOL_SIZE": "2",
        "SHEAF_BATCH_LEASE_S": "1",
        "SHEAF_HEARTBEAT_S": "0.3",
        "SHEAF_RECONCILE_S": "0.2",
    }
    return bench


@contextmanager
def restarted(bench: Bench, killed_on: Run | None = None) -> Iterator[None]:
    """Keep a worker running, as `sheaf up` does; if `killed_on`, kill it soon after it has committed to that run."""
    over = threading.Event()

    def kill_soon(worker: subprocess.Popen[str], pause_s: float) -> None:
        """On a busy machine a worker may take seconds to begin: after as many kills as it has items, all would fail."""
        assert killed_on is not None
        done = bench.done(killed_on)
        while worker.poll() is None and not over.wait(0.1):
            if bench.done(killed_on) > done:
                over.wait(pause_s)
                break

    def keep() -> None:
        chance = random.Random(1)
        while not over.is_set():
            worker = bench.worker(log=bench.person.folder / "log")
            if killed_on is not None:
                kill_soon(worker, chance.uniform(0.0, 1.0))
                worker.kill()
            while worker.poll() is None and not over.wait(0.02):
                pass
            worker.kill()
            worker.wait()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def outcome(bench: Bench, run: Run, within_s: float) -> tuple[dict[int, str], dict[int, tuple[str, str, int]]]:
    deadline = time.monotonic() + within_s
    while not Run.open(bench.person.data, run.manifest.run).finished:
        assert time.monotonic() < deadline, (bench.person.folder / "log").read_text()[-3000:]
        time.sleep(0.1)
    output = Output(bench.person.data / run.manifest.output)
    values = {index: json.loads(line)["value"] for index, line in output.records.all(run.manifest.run)}
    failures = {
        found.index: (found.error, found.message, found.attempts) for found in output.reader.failures(run.manifest.run)
    }
    output.close()
    return values, failures


def test_an_item_that_takes_its_worker_along_fails_alone(quick: Bench) -> None:
    """Workers die with it until it was alone in hand three times; then it fails, and all others have their results."""
    items = [f"good {index}" for index in range(60)]
    items[33] = "worker"
    run = quick.call("deadly:act", *items, batch_size=60, attempts=2)

    with restarted(quick):
        values, failures = outcome(quick, run, 240)
        with quick.server.client() as client:
            # What is committed is given back a moment later: by the worker that committed it, or by the next one.
            until = time.monotonic() + 60
            while client.hgetall(keys.CLAIMS):
                assert time.monotonic() < until, client.hgetall(keys.CLAIMS)
                time.sleep(0.05)

    assert values == {index: item for index, item in enumerate(items) if index != 33}
    ((index, (error, message, attempts)),) = failures.items()
    assert (index, error, attempts) == (33, "ProcessDied", 3)
    assert "died with it, 3 times, with nothing else in hand" in message


def test_workers_that_are_killed_by_somebody_else_cost_no_item_its_result(quick: Bench) -> None:
    """kill -9 of the only worker, whenever it has done something: batches are done in parts, every item succeeds."""
    items = [f"slow {index}" for index in range(60)]
    run = quick.call("deadly:act", *items, batch_size=20, attempts=1)

    with restarted(quick, killed_on=run):
        values, failures = outcome(quick, run, 240)

    assert (values, failures) == (dict(enumerate(items)), {})


def test_what_is_no_note_is_passed_over(bench: Bench) -> None:
    """Whatever is in Redis in its place: nothing is known then."""
    with bench.server.client() as client:
        notes = Notes(client)
        notes.write("run_1", Note(3, 4, 5, 1, 2))
        assert notes.read("run_1") == Note(3, 4, 5, 1, 2)
        assert 3600 < client.ttl(keys.IN_HAND_PREFIX + "run_1") <= 24 * 3600
        numbers = [
            b'{"first":%s,"end":2,"claims":1,"alone":1}' % odd for odd in (b'"a"', b"-1", b"1.5", b"true", b"1e99")
        ]
        numbers.append(b'{"first":1,"end":%d,"claims":1,"alone":1}' % 2**53)
        for value in (b"\xff", b"[]", b'{"first": 1}', b"7", b"null", b"[" * 100_000, *numbers):
            client.set(keys.IN_HAND_PREFIX + "run_1", value)
            assert notes.read("run_1") is None, value[:80]
        notes.write("run_1", Note(3, 4, 5, 1, 2))
        notes.remove("run_1")
        assert notes.read("run_1") is None


def test_batches_that_are_handed_back_in_peace_are_not_counted(quick: Bench) -> None:
    """A worker that is asked to stop again and again: the next one takes the batch as if for the first time."""
    run = quick.call("deadly:act", *[f"slow {index}" for index in range(400)], batch_size=400)
    log = Path(quick.person.folder / "log")
    for _ in range(4):
        worker = quick.worker(log=log)
        done = quick.done(run)
        quick.wait_until_done(run, more_than=done)
        worker.terminate()
        assert worker.wait(timeout=60) == 0
    with quick.server.client() as client:
        assert client.hgetall(keys.CLAIMS) == {f"{run.manifest.run}_0".encode(): b"0"}
    assert "part by part" not in log.read_text()
