"""Poison items, through a whole worker: each fails alone, with a reason a person understands; the others succeed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sheaf.output.output import Output
from sheaf.run.run import Run
from tests.console import processes_of, wait_until
from tests.integration.bench import Bench
from tests.integration.pool.helpers import alive

TASKS = Path(__file__).with_name("poison_tasks.py")


@pytest.fixture
def poisoned(bench: Bench) -> Bench:
    """A bench whose workers have the tasks, two processes, and 80 MiB for each of them."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    shutil.copy(TASKS, tasks)
    bench.person.environment |= {
        "SHEAF_TASKS_DIR": str(tasks),
        "SHEAF_POOL_SIZE": "2",
        "SHEAF_CHILD_MEMORY_MB": "80",
    }
    return bench


def finish(bench: Bench, run: Run, within_s: float = 60) -> tuple[dict[int, Any], dict[int, tuple[str, str, int]]]:
    """Wait for the run's end; return the values and the failures by item."""
    wait_until(lambda: Run.open(bench.person.data, run.manifest.run).finished, within_s, "the run is finished")
    output = Output(bench.person.data / run.manifest.output)
    values = {index: json.loads(line)["value"] for index, line in output.records.all(run.manifest.run)}
    failures = {
        failure.index: (failure.error, failure.message, failure.attempts)
        for failure in output.reader.failures(run.manifest.run)
    }
    output.close()
    return values, failures


def stop(worker: subprocess.Popen[str]) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0


def test_each_poison_fails_alone_after_its_attempts(poisoned: Bench) -> None:
    """Segfault, os._exit, memory without end: two tries each; a hang in C: one. All others succeed."""
    poison = {17: "segfault:", 40: "exit:3", 130: "fill:700"}
    items = [poison.get(index, f"good {index}") for index in range(200)]
    run = poisoned.call("poison_tasks:act", *items, batch_size=20, attempts=2, item_timeout_s=60.0)
    hanging = [f"good {index}" for index in range(20)] + ["hang:"]
    timed = poisoned.call("poison_tasks:act", *hanging, attempts=2, item_timeout_s=3.0, output="timed.jsonl")
    worker = poisoned.worker(log=poisoned.person.folder / "log")

    values, failures = finish(poisoned, run)
    timed_values, timed_failures = finish(poisoned, timed)

    assert values == {index: f"good {index}" for index in range(200) if index not in poison}
    reasons = {index: message for index, (_, message, _) in failures.items()}
    assert reasons.keys() == poison.keys()
    assert "signal 11 (SIGSEGV): a crash in native code; tried 2 times, alone" in reasons[17]
    assert "exit status 3" in reasons[40]
    assert "took more than twice the memory that SHEAF_CHILD_MEMORY_MB allows; tried 2 times" in reasons[130]
    assert timed_values == {index: f"good {index}" for index in range(20)}
    assert timed_failures == {20: ("Timeout", "not finished within 3 s; its process was killed", 1)}
    stop(worker)
    wait_until(lambda: not processes_of(poisoned.person.folder), 60, "nothing of it is left")


def test_an_item_that_forks_harms_nobody(poisoned: Bench) -> None:
    """A copy that comes back from the task's function reports nothing and ends; copies that sleep end with the pool."""
    marks = poisoned.person.folder
    items = [f"good {index}" for index in range(40)]
    items[11], items[23] = f"fork:{marks}/copy", f"fork-and-sleep:{marks}/asleep"
    run = poisoned.call("poison_tasks:act", *items, batch_size=20, attempts=2)
    worker = poisoned.worker(log=marks / "log")

    values, failures = finish(poisoned, run)

    expected = {index: item for index, item in enumerate(items)} | {11: "original", 23: "original"}
    assert (values, failures) == (expected, {})
    wait_until(lambda: not alive(int((marks / "copy").read_text())), 60, "the copy has ended")
    again = poisoned.call("poison_tasks:act", *(f"later {index}" for index in range(20)), output="later.jsonl")
    assert len(finish(poisoned, again)[0]) == 20
    stop(worker)
    copies = [int((marks / f"asleep-{number}").read_text()) for number in range(3)]
    wait_until(lambda: not any(map(alive, copies)), 60, "no copy is left")


def test_forked_copies_end_with_a_killed_worker(poisoned: Bench) -> None:
    """kill -9 of the worker: its processes go, and so do the copies that tasks have forked of them."""
    marks = poisoned.person.folder
    run = poisoned.call("poison_tasks:act", f"fork-and-sleep:{marks}/asleep", "good")
    worker = poisoned.worker(log=marks / "log")
    finish(poisoned, run)
    pids = [int((marks / f"asleep-{number}").read_text()) for number in range(3)]
    assert all(alive(pid) for pid in pids)

    worker.kill()

    wait_until(lambda: not any(alive(pid) for pid in pids), 60, "no copy is left")


def test_a_gigabyte_of_prints_does_not_fill_the_log(poisoned: Bench) -> None:
    """A MiB a minute and process goes to the log, with a notice; the item and the others succeed."""
    log = poisoned.person.folder / "log"
    run = poisoned.call("poison_tasks:act", "print:1024", *(f"good {index}" for index in range(20)))
    worker = poisoned.worker(log=log)

    values, failures = finish(poisoned, run)
    stop(worker)

    assert (len(values), failures) == (21, {})
    assert log.stat().st_size < 1_200_000
    text = log.read_text()
    assert "a task prints too much; its output is dropped for the rest of the minute" in text
    assert '"message": "printed text was dropped"' in text
    assert f'"bytes": {1023 << 20}' in text


def test_what_a_killed_workers_tasks_left_running_is_ended_by_the_supervisor(poisoned: Bench) -> None:
    """kill -9 of an embedded worker: even a command in a session of its own goes; the next worker goes on."""
    person, mark = poisoned.person, poisoned.person.folder / "left"
    del person.environment["SHEAF_REDIS_URL"]
    person.run("up", "--workers", "1")
    try:
        run = poisoned.call("poison_tasks:act", f"leave-running:{mark}", "good")
        finish(poisoned, run)
        left, worker = int(mark.read_text()), person.pids()["worker-1"]
        assert alive(left)

        os.kill(worker, signal.SIGKILL)

        wait_until(lambda: not alive(left), 60, "the command is ended")
        again = poisoned.call("poison_tasks:act", "later", output="later.jsonl")
        assert finish(poisoned, again)[0] == {0: "later"}
    finally:
        person.run("down")
