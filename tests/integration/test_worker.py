"""A worker as a process, with a real Redis: asked to stop, killed, cut off from Redis, from its volume, from space."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from sheaf.broker import keys
from sheaf.broker.queue import BatchQueue
from sheaf.output.repair.verify import verify
from sheaf.run.run import Run, list_runs
from tests.console import wait_until
from tests.integration.bench import Bench


def test_a_worker_told_to_stop_hands_back_what_it_has_not_begun(bench: Bench) -> None:
    """SIGTERM in mid-run: it exits with 0 in time, leaves nothing under a lease, and the next worker ends the run."""
    run = bench.submit(80)
    worker = bench.worker()
    bench.wait_until_done(run, more_than=5)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=40) == 0
    with bench.server.client() as client:
        snapshot = BatchQueue(client).snapshot()
        assert snapshot.leased == {}
        assert snapshot.queued
        assert BatchQueue(client).registry.workers() == []
    assert bench.done(run) < 80
    bench.worker()
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_a_registry_entry_shows_where_commit_time_goes(bench: Bench) -> None:
    """While the fence is in another's hands the wait for it grows, and not the time of writing."""
    bench.worker()
    run = bench.submit(120)
    bench.wait_until_done(run, more_than=2)
    index = sqlite3.connect(bench.person.data / f"{run.manifest.output}.index", isolation_level=None)
    index.execute("BEGIN IMMEDIATE")
    held = time.monotonic()
    time.sleep(2.0)
    index.execute("ROLLBACK")
    held = time.monotonic() - held
    index.close()
    bench.wait_until_done(run)

    def entry() -> dict[str, float]:
        with bench.server.client() as client:
            (found,) = BatchQueue(client).registry.workers()
        return {name: float(found.fields[name]) for name in ("commits", "lock_s", "fence_s", "write_s", "items")}

    wait_until(lambda: entry()["items"] == 120, 60, "the entry is up to date")
    assert entry()["commits"] >= 2
    assert held / 4 < entry()["fence_s"] < held + 10
    assert entry()["lock_s"] > 0
    assert entry()["write_s"] > 0


def test_a_killed_workers_batches_are_run_by_others(bench: Bench) -> None:
    """kill -9 in mid-run: its leases run out, a living worker puts its batches back, every page is there once."""
    run = bench.submit(100)
    victim = bench.worker()
    bench.wait_until_done(run, more_than=5)
    bench.worker()

    victim.kill()

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
    wait_until(lambda: Run.open(bench.person.data, run.manifest.run).finished, 60, "the run is marked as finished")


def test_a_flushed_redis_costs_nothing(bench: Bench) -> None:
    """FLUSHALL in mid-run: the workers themselves put back what is undone, and the run completes exactly once."""
    run = bench.submit(100)
    bench.worker()
    bench.worker()
    bench.wait_until_done(run, more_than=10)

    with bench.server.client() as client:
        client.flushall()

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_workers_wait_for_a_redis_that_is_gone_and_go_on_when_it_is_back_empty(bench: Bench) -> None:
    """Redis dies and comes back with nothing: no worker exits, what was in hand is committed, the run completes."""
    run = bench.submit(100)
    workers = [bench.worker(), bench.worker()]
    bench.wait_until_done(run, more_than=10)

    bench.server.kill()
    for remains in bench.server.folder.rglob("*.aof*"):
        remains.unlink()
    before = bench.done(run)
    wait_until(lambda: bench.done(run) > before, 60, "what the workers had in hand is committed without Redis")
    bench.server.start()

    bench.wait_until_done(run)
    assert [worker.poll() for worker in workers] == [None, None]
    bench.assert_exactly_once(run)


def test_a_worker_without_the_volume_says_so_and_ends(bench: Bench) -> None:
    """A data folder that is not there is a mistake that no waiting cures."""
    worker = bench.worker(SHEAF_DATA_DIR="/nowhere/data")

    _, stderr = worker.communicate(timeout=60)

    assert worker.returncode == 2
    assert "SHEAF_DATA_DIR=/nowhere/data is not a folder that this worker" in stderr
    assert "mount the volume" in stderr


def test_a_worker_with_another_volume_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    """Its batches' run is not there: it says so and lets go; a worker with the right volume ends the run."""
    run = bench.submit(20, latency=0)
    (tmp_path / "other").mkdir()
    stranger = bench.worker(SHEAF_DATA_DIR=str(tmp_path / "other"))
    with bench.server.client() as client:
        queue = BatchQueue(client)
        wait_until(lambda: queue.registry.problem(run.manifest.run) is not None, 60, "the stranger says what is wrong")
        problem = queue.registry.problem(run.manifest.run)
        assert problem is not None
        assert "share the producer's volume" in problem.text
        assert not problem.refused

    # The stranger goes on taking what it cannot use; the worker with the right volume finishes the run all the same.
    bench.worker()
    assert stranger.poll() is None
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_an_output_without_its_index_is_never_touched(bench: Bench) -> None:
    """The index is taken away in mid-run: not one byte is written, the status says why; put back, the run completes."""
    run = bench.submit(100)
    worker = bench.worker()
    bench.wait_until_done(run, more_than=5)
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=40)
    output = bench.person.data / run.manifest.output
    away = bench.person.folder / "away"
    away.mkdir()
    for path in bench.person.data.glob(f"{output.name}.index*"):
        path.rename(away / path.name)
    content = output.read_bytes()

    bench.worker()
    with bench.server.client() as client:
        queue = BatchQueue(client)
        wait_until(lambda: queue.registry.problem(run.manifest.run) is not None, 60, "the problem is shown")
        problem = queue.registry.problem(run.manifest.run)
        assert problem is not None
        assert "index" in problem.text
        assert output.read_bytes() == content
        for path in away.iterdir():
            path.rename(bench.person.data / path.name)
        client.delete(keys.PROBLEM_PREFIX + run.manifest.run)

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_watching_ends_when_a_person_has_to_look_at_the_output(bench: Bench) -> None:
    """The output was cut short: nothing is written, `sheaf watch` says so and ends with 1; mended, the run goes on."""
    run = bench.submit(60)
    worker = bench.worker()
    bench.wait_until_done(run, more_than=5)
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=40)
    output = bench.person.data / run.manifest.output
    content = output.read_bytes()
    os.truncate(output, len(content) - 10)

    bench.worker()
    said = bench.person.run("watch", run.manifest.run, status=1)

    assert "is paused at" in said.stderr
    assert "10 bytes are gone" in said.stderr
    assert output.read_bytes() == content[:-10]
    output.write_bytes(content)
    with bench.server.client() as client:
        client.delete(keys.PROBLEM_PREFIX + run.manifest.run)
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_a_cancelled_run_stops_and_the_same_command_takes_it_up(bench: Bench) -> None:
    """`sheaf cancel` ends it within seconds; what is in the output stays; submitting it again loads the rest only."""
    run = bench.submit(100)
    bench.worker()
    bench.wait_until_done(run, more_than=5)

    bench.person.run("cancel", run.manifest.run)
    with bench.server.client() as client:
        queue = BatchQueue(client)
        wait_until(lambda: not queue.snapshot().leased and not queue.length(), 60, "no batch is queued or leased")
    stopped_at = bench.done(run)
    assert stopped_at < 100

    again = bench.submit(100)
    assert again.manifest.run == run.manifest.run
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_pauses_the_run_until_there_is_room(bench: Bench) -> None:
    """ENOSPC in a commit: nothing torn, the status says so, and with room again the run goes on by itself."""
    data = bench.person.data
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(data)], check=True)
    try:
        run = bench.submit(60, latency=0)
        bench.worker()
        with bench.server.client() as client:
            queue = BatchQueue(client)
            wait_until(lambda: queue.registry.problem(run.manifest.run) is not None, 60, "the problem is shown")
            problem = queue.registry.problem(run.manifest.run)
        assert problem is not None
        assert "No space left" in problem.text
        assert verify(data, data / run.manifest.output).torn == 0

        subprocess.run(["mount", "-o", "remount,size=64m", str(data)], check=True)

        bench.wait_until_done(run)
        bench.assert_exactly_once(run)
    finally:
        for process in bench.workers:
            process.kill()
            process.communicate()
        bench.workers.clear()
        subprocess.run(["umount", "--lazy", str(data)], check=True)


def test_a_queue_that_runs_low_is_topped_up_at_once(bench: Bench) -> None:
    """A run has ten times the batches that may be queued, and the next regular look is ten minutes away."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    (tasks / "quick.py").write_text("def double(number):\n    return number * 2\n")
    bench.person.environment |= {
        "SHEAF_TASKS_DIR": str(tasks),
        "SHEAF_QUEUE_BATCHES": "20",
        "SHEAF_RECONCILE_S": "600",
    }
    for _ in range(2):
        bench.worker(SHEAF_POOL_SIZE="1")
    bench.person.run("map", "quick:double", "range(200)", "-o", "doubles.jsonl", "--batch-size", "1", "--detach")
    run = Run.open(bench.person.data, list_runs(bench.person.data)[-1])

    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
