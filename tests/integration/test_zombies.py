"""A worker that is stopped while it holds the fence: the others report who blocks and what to do; nothing is harmed."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from sheaf.broker.queue import BatchQueue
from sheaf.output.blocker import blocker
from sheaf.output.output import Output
from sheaf.run.run import Run
from tests.console import wait_until
from tests.integration.bench import Bench

SCRIPT = Path(__file__).with_name("stopping_worker.py")


def state_of(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def stopped_in_mid_commit(bench: Bench, run: Run) -> subprocess.Popen[str]:
    """Start a worker and have it stop between its append and the sync."""
    flag = bench.person.folder / "stop"
    worker = bench.worker(str(SCRIPT), str(flag), SHEAF_LABEL="worker-a", SHEAF_LOCK_LEASE_S="2")
    bench.wait_until_done(run, more_than=5)
    flag.touch()
    wait_until(lambda: state_of(worker) == "T", 60, "the worker has stopped in mid-commit")
    return worker


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_stopped_holder_of_the_fence_is_named_to_everybody(bench: Bench, end: signal.Signals) -> None:
    """SIGSTOP in mid-commit: status, watch, log and problem say who blocks, for how long and what to do; nothing is
    written meanwhile. At the end of SHEAF_LOCK_WAIT_S the commit stays pending. Continued or killed: exactly once."""
    run = bench.submit(100)
    holder = stopped_in_mid_commit(bench, run)
    log = bench.person.folder / "b.log"
    bench.worker(SHEAF_LABEL="worker-b", SHEAF_LOCK_WAIT_S="6", log=log)
    done = bench.done(run)
    watch = bench.person.start("watch", run.manifest.run)

    with bench.server.client() as client:
        queue = BatchQueue(client)
        wait_until(lambda: queue.registry.problem(run.manifest.run) is not None, 60, "the problem is shown")
        problem = queue.registry.problem(run.manifest.run)
    assert problem is not None
    assert problem.worker == "worker-b"
    assert f"(pid {holder.pid}, host " in problem.text
    overview = bench.person.run("status").stdout
    detail = bench.person.run("status", run.manifest.run).stdout

    who = rf"worker-a-\w+ \(pid {holder.pid}, host .+\)"
    named = rf"{who} has held the index's write transaction for \d+ s; it is stopped"
    advice = rf"kill it \(kill -9 {holder.pid}; nothing is lost\) or let it continue \(kill -CONT {holder.pid}\)"
    for text in (overview, detail):
        assert re.search(f"blocked  pages.jsonl: {named}: {advice}", text), text
    assert re.search(r"worker-a +no sign of life for \d", overview), overview
    assert re.search(r"lock     (held by worker-b for .* s, token \d+|free, last token \d+)", detail), detail
    wait_until(lambda: re.search(f'"blocked_by": "{named}', log.read_text()), 60, "the log names it")
    assert bench.done(run) == done

    holder.send_signal(end)
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)
    assert not list(bench.person.data.glob("*.stray-*"))
    _, seen = watch.communicate(timeout=60)
    assert re.search(named, seen), seen
    assert watch.returncode == 0
    # Worker-b's own entry says so with its next beat.
    wait_until(lambda: "blocked" not in bench.person.run("status").stdout, 60, "nothing is blocked any more")


def test_a_worker_that_waits_for_the_fence_still_ends_in_time(bench: Bench) -> None:
    """SIGTERM while another worker keeps the fence: it gives its commit up within the grace period, others redo it."""
    run = bench.submit(100)
    holder = stopped_in_mid_commit(bench, run)
    log = bench.person.folder / "b.log"
    waiting = bench.worker(SHEAF_LABEL="worker-b", SHEAF_LOCK_WAIT_S="60", log=log)
    wait_until(lambda: "waiting for the output's fence" in log.read_text(), 60, "it waits for the fence")

    waiting.send_signal(signal.SIGTERM)

    assert waiting.wait(timeout=40) == 0
    holder.send_signal(signal.SIGCONT)
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_a_short_hold_is_not_called_a_blockade(tmp_path: Path) -> None:
    """A free fence, and one that is held for a moment as every commit does, are not reported."""
    path = tmp_path / "out.txt"
    output = Output.create(path)
    assert blocker(path) is None
    with output._transactions.begin("another"):
        assert blocker(path) is None
    output.close()
