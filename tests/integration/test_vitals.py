"""A broken thread is a dead worker: at once, with its reason in the log and in `sheaf status`, and nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sheaf.broker.queue import BatchQueue
from sheaf.core.last_words import last_words
from tests.console import wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.redis

SCRIPT = Path(__file__).with_name("breaking_worker.py")
#: Seconds within which a process with a broken part is gone, on a busy machine.
GONE_S = 90.0


def breaking(bench: Bench, part: str, how: str, **settings: str) -> tuple[subprocess.Popen[str], Path, Path]:
    """A worker at work, the file whose appearance breaks it, and its log."""
    flag, log = bench.person.folder / "break", bench.person.folder / "broken.log"
    worker = bench.worker(str(SCRIPT), str(flag), part, how, log=log, SHEAF_LABEL="victim", **settings)
    return worker, flag, log


def reason(log: Path) -> dict[str, str]:
    lines: list[dict[str, str]] = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (found,) = [line for line in lines if line.get("action") == "fail"]
    return found


@pytest.mark.parametrize("part", ["main", "pool", "committer", "heartbeat", "fetcher", "recovery", "renewer", "vitals"])
def test_a_part_that_raises_ends_the_worker_with_its_reason(bench: Bench, part: str) -> None:
    """Whichever thread it is: the process is gone, the log has the traceback, `status` the cause; others go on."""
    # So that a lease has to be renewed in the midst of a commit.
    settings = {"SHEAF_LOCK_LEASE_S": "0.003"} if part == "renewer" else {}
    worker, flag, log = breaking(bench, part, "raises", **settings)
    run = bench.submit(60)
    bench.wait_until_done(run, more_than=2)

    flag.touch()

    assert worker.wait(GONE_S) == 1
    said = reason(log)
    assert said["part"] == {"main": "MainThread", "pool": "MainThread"}.get(part, part)
    assert "RuntimeError: broken on" in said["traceback"]
    (death,) = last_words(bench.person.data)
    assert (death.label, death.pid, death.times) == ("victim", worker.pid, 1)
    shown = bench.person.run("status").stdout
    assert f"broke    victim (pid {worker.pid})" in shown
    assert f"RuntimeError: broken on purpose ?[31m (in the thread {said['part']!r})" in shown
    with bench.server.client() as client:
        assert BatchQueue(client).snapshot().leased == {}, "its batches are handed back"
        assert BatchQueue(client).registry.workers() == []
    bench.worker()
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


@pytest.mark.parametrize("how", ["exits", "is out of memory", "has no text"])
@pytest.mark.parametrize("part", ["main", "recovery"])
def test_any_kind_of_exception_ends_the_worker(bench: Bench, part: str, how: str) -> None:
    """SystemExit, which threads swallow otherwise; no memory; an exception whose text raises one of its own."""
    worker, flag, log = breaking(bench, part, how)
    wait_until(lambda: "worker started" in log.read_text(), 60, "it has started")

    flag.touch()

    assert worker.wait(GONE_S) == 1
    name = {"exits": "SystemExit", "is out of memory": "MemoryError", "has no text": "Odd"}[how]
    assert last_words(bench.person.data)[0].cause.partition(" ")[0].strip(":").endswith(name)


def test_a_main_loop_that_hangs_ends_the_worker(bench: Bench) -> None:
    """Nothing is raised, nothing ends: the process ends all the same, says where it was, and keeps no lease."""
    worker, flag, log = breaking(bench, "pool", "hangs")
    run = bench.submit(60)
    bench.wait_until_done(run, more_than=2)

    flag.touch()

    assert worker.wait(GONE_S) == 1
    said = reason(log)
    assert "the main loop has made no progress for" in said["why"]
    assert "break_down" in said["why"]
    assert "in broken" in said["stack"] or "step" in said["stack"]
    bench.worker()
    bench.wait_until_done(run)
    bench.assert_exactly_once(run)


def test_a_worker_that_breaks_while_it_stops_ends_as_well(bench: Bench) -> None:
    worker, flag, log = breaking(bench, "main-end", "raises")
    wait_until(lambda: "worker started" in log.read_text(), 60, "it has started")
    flag.touch()

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(GONE_S) == 1
    assert "broken on purpose" in last_words(bench.person.data)[0].cause


def test_a_worker_that_was_stopped_for_long_is_not_taken_for_hung(bench: Bench) -> None:
    """SIGSTOP for longer than the main loop may hang: it goes on when it wakes."""
    worker, _, log = breaking(bench, "main", "raises")
    wait_until(lambda: "worker started" in log.read_text(), 60, "it has started")
    time.sleep(1.5)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(7)

    worker.send_signal(signal.SIGCONT)

    run = bench.submit(12)
    bench.wait_until_done(run)
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(GONE_S) == 0
    assert list((bench.person.data / ".sheaf/last-words").glob("*")) == [], "who ends in order leaves no words"


def test_a_worker_without_stderr_writes_to_no_other_file(bench: Bench) -> None:
    """Started with its standard descriptors closed, as some supervisors do: what its tasks print goes nowhere."""
    environment = bench.person.environment | {"SHEAF_TASKS_DIR": str(SCRIPT.parent)}
    command = ["sh", "-c", f"exec {sys.executable} -m sheaf_worker 0<&- 1>&- 2>&-"]
    worker = subprocess.Popen(command, cwd=bench.person.folder, env=environment)
    bench.workers.append(worker)  # type: ignore[arg-type]
    run = bench.call("task_faults:act", *(f"print:{index}" for index in range(20)))

    bench.wait_until_done(run)

    bench.assert_exactly_once(run)
    assert "printed" not in (bench.person.data / "values.jsonl.index").read_bytes().decode(errors="replace")
