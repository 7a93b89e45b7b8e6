"""One damaged thing stops one thing: a live cluster beside damaged runs, strangers and odd values in Redis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from sheaf.broker import keys
from sheaf.run.run import Run
from tests.console import wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.redis

ITEMS = 60


def change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def set_field(name: str, value: object) -> Callable[[Path], None]:
    """As an author of such a manifest would: without a checksum, and so without those of a list."""

    def write(folder: Path) -> None:
        values = json.loads((folder / "run.json").read_text())
        for added in ("checksum", "list_sums", "list_bytes"):
            del values[added]
        (folder / "run.json").write_text(json.dumps(values | {name: value}))

    return write


#: What is done to a run's folder, one run for each.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "manifest-empty": lambda folder: (folder / "run.json").write_bytes(b""),
    "manifest-cut": lambda folder: change(folder / "run.json", lambda data: data[:100]),
    "manifest-list": lambda folder: (folder / "run.json").write_text("[]"),
    "manifest-bytes": lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe"),
    "manifest-bit": lambda folder: change(folder / "run.json", lambda data: data.replace(b"t:f", b"t:g")),
    "manifest-fifo": lambda folder: replace(folder / "run.json", os.mkfifo),
    "manifest-folder": lambda folder: replace(folder / "run.json", Path.mkdir),
    "manifest-circle": lambda folder: replace(folder / "run.json", lambda path: path.symlink_to(path.name)),
    "options-list": set_field("options", [1, 2]),
    "batch-size-0": set_field("batch_size", 0),
    "other-name": set_field("run", "20260101-000000-other"),
    "output-outside": set_field("output", "../outside.jsonl"),
    "items-byte": lambda folder: change(folder / "items", lambda data: data[:50] + b"\xff" + data[51:]),
    "items-line": lambda folder: change(folder / "items", lambda data: data.replace(b" ", b"\n", 1)),
    "items-cut": lambda folder: change(folder / "items", lambda data: data[:70]),
    "items-gone": lambda folder: (folder / "items").unlink(),
    "items-fifo": lambda folder: replace(folder / "items", os.mkfifo),
    "offsets-cut": lambda folder: change(folder / "items.offsets", lambda data: data[:-3]),
    "offsets-bit": lambda folder: change(folder / "items.offsets", lambda data: b"\x08" + data[1:]),
    "versions-list": lambda folder: (folder / "versions.jsonl").write_text("[]\n"),
    "moved-bytes": lambda folder: (folder / "moved").write_bytes(b"\xff\n"),
}


@pytest.fixture
def tasks(bench: Bench) -> str:
    folder = bench.person.folder / "tasks"
    folder.mkdir()
    (folder / "t.py").write_text("def f(line):\n    return line\n")
    bench.person.environment["SHEAF_TASKS_DIR"] = str(folder)
    return str(folder)


@pytest.fixture
def worker(bench: Bench, tasks: str) -> Iterator[subprocess.Popen[str]]:
    """One worker; it is still the same process when the test ends."""
    made = bench.worker(SHEAF_TASKS_DIR=tasks, log=bench.person.folder / "worker.log")
    yield made
    assert made.poll() is None


def items_of(name: str) -> list[str]:
    return [f"{name} {number}" for number in range(ITEMS)]


def assert_done(bench: Bench, run: Run, name: str) -> None:
    """Each item is in the output once, with its own text."""
    bench.wait_until_done(run, within_s=120)
    rows = [json.loads(line) for line in (bench.person.data / run.manifest.output).read_text().splitlines()]
    assert sorted((row["index"], row["item"]) for row in rows) == list(enumerate(items_of(name)))
    bench.assert_exactly_once(run)


def shown(bench: Bench, *words: str, status: int) -> str:
    """What a command says of a run that is set aside; a worker's word for it lasts seconds, and may come late."""
    said = ""

    def is_said() -> bool:
        nonlocal said
        done = bench.person.run(*words, status=status)
        said = done.stdout + done.stderr
        return "is set aside" in said

    wait_until(is_said, 60, f"{words} says that it is set aside")
    return said


def test_damaged_runs_are_set_aside_and_all_others_go_on(
    bench: Bench, tasks: str, request: pytest.FixtureRequest
) -> None:
    """The damage is shown by every view, nothing of it is done wrong, and whole again it goes on by itself."""
    runs = {name: bench.call("t:f", *items_of(name), output=f"{name}.jsonl") for name in DAMAGES}
    shutil.copytree(bench.person.data / "runs", bench.person.folder / "whole")
    for name, damage in DAMAGES.items():
        damage(runs[name].folder)
    (bench.person.data / "runs" / "no run at all").mkdir()
    (bench.person.data / "sessions" / "x" / "runs" / "abc").mkdir(parents=True)
    (bench.person.data / "sessions" / "session-1" / "runs" / "abc").mkdir(parents=True)
    healthy = bench.call("t:f", *items_of("healthy"), output="healthy.jsonl")
    request.getfixturevalue("worker")

    assert_done(bench, healthy, "healthy")
    lines = bench.person.list_file("more.txt", *items_of("more"))
    said = bench.person.run("map", "t:f", lines, "-o", "more.jsonl")
    assert f"Done: {ITEMS} items" in said.stdout

    with redis.Redis.from_url(bench.server.url) as client:
        told_problems = {name: keys.PROBLEM_PREFIX + run.manifest.run for name, run in runs.items()}
        wait_until(lambda: all(map(client.exists, told_problems.values())), 60, "each damaged run has its problem")
    overview = bench.person.run("status").stdout
    assert "no run at all" in overview
    for name, run in runs.items():
        known, opens = run.manifest.run, name.startswith(("items", "offsets"))
        views = [shown(bench, "status", known, status=0 if opens else 2)]
        if name in ("manifest-empty", "options-list", "versions-list", "items-line"):
            # A command that cannot open the run says so; one that can has it from the workers.
            opens = opens or name == "versions-list"
            views.append(shown(bench, "watch", known, status=1 if opens else 2))
            views.append(shown(bench, "failures", known, status=0 if opens else 2))
            if not opens:
                views += [shown(bench, view, known, status=2) for view in ("retry", "cancel")]
        for view in views:
            assert f"runs/{known}" in view, (name, view)
        assert bench.done(run) == 0
    assert not (bench.person.folder / "outside.jsonl").exists()

    for run in runs.values():
        shutil.rmtree(run.folder)
        shutil.copytree(bench.person.folder / "whole" / run.manifest.run, run.folder)
    for name, run in runs.items():
        assert_done(bench, run, name)


@pytest.mark.usefixtures("worker")
def test_odd_values_in_redis_end_no_worker(bench: Bench) -> None:
    """What a producer may write, while batches are claimed, committed and looked at: all is done, and reported."""
    run = bench.call("t:f", *items_of("busy"), output="busy.jsonl")
    lock = keys.LOCK_PREFIX + keys.output_lock("busy.jsonl")
    with redis.Redis.from_url(bench.server.url) as client:
        for _ in range(20):
            client.lpush(keys.RQ_QUEUE, b"\xff\xfe", b"", b"x" * 100_000, b"nobody_99999", b"a_b")
            client.hset(keys.PROBLEM_PREFIX + run.manifest.run, mapping={"problem": b"\xff", "since_ms": "abc"})
            client.delete(lock)
            client.hset(lock, mapping={"holder": b"\xff:1", "until_ms": "inf", "lease_ms": "inf", "token": "x"})
            client.set(lock + keys.LOCK_WAITERS_SUFFIX, "no list")
            client.set(keys.RQ_QUEUES, "no set")
            status = bench.person.run("status", run.manifest.run)
            assert "Traceback" not in status.stdout
        client.delete(keys.RQ_QUEUE)
        client.set(keys.RQ_QUEUE, "no list")
    assert_done(bench, run, "busy")
    assert "worker started" in (bench.person.folder / "worker.log").read_text()
