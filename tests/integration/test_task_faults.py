"""User code that behaves badly, through a real worker: each item answers for itself, and for nothing else."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from sheaf.output.output import Output
from sheaf.run.run import Run
from sheaf.tasks.description import describe
from sheaf.tasks.tracebacks import split
from tests.console import wait_until
from tests.integration.bench import Bench

pytestmark = pytest.mark.redis


@pytest.fixture
def faulty(bench: Bench) -> Bench:
    folder = bench.person.folder / "tasks"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("task_faults.py"), folder)
    bench.worker(log=bench.person.folder / "log", SHEAF_POOL_SIZE="1", OPEN_LOG=str(bench.person.folder / "open.log"))
    return bench


def submit(bench: Bench, task: str, *items: str) -> Run:
    """As the producer does: with what the task's decorator says."""
    spec = describe(task, bench.person.folder / "tasks").spec
    return bench.call(
        task,
        *items,
        batch_size=100,
        output=f"{task.partition(':')[2]}.jsonl",
        item_timeout_s=spec.item_timeout_s,
        attempts=spec.attempts,
        memory_mb=spec.memory_mb,
        files=spec.files,
    )


def outcome(bench: Bench, run: Run) -> tuple[dict[int, Any], dict[int, tuple[str, str, int]]]:
    """Wait for the run's end; return the records and the failures (class, message, attempts) by item."""
    wait_until(lambda: run.finished, 60, "the run is finished")
    output = Output(bench.person.data / run.manifest.output)
    records = {index: json.loads(line) for index, line in output.records.all(run.manifest.run)}
    failed = {
        entry.index: (entry.error, entry.message, entry.attempts) for entry in output.reader.failures(run.manifest.run)
    }
    output.close()
    return records, failed


def test_bad_items_answer_for_themselves_alone(faulty: Bench) -> None:
    """Print, exit, raise, walk off, start threads, return what JSON cannot hold: the good ones beside them are done."""
    bad = ["exit:3", "set:", "object:", "raise:x", "raise:y"]
    odd = ["print:a", "thread:", "walk:/", "where:", "bytes:", "surrogate:", "nan:"]
    run = submit(faulty, "task_faults:act", *(text for item in bad + odd for text in (item, "good")))

    records, failed = outcome(faulty, run)

    values = {records[index]["item"]: records[index].get("value") for index in records}
    assert {failed[2 * place][0] for place in range(5)} == {"SystemExit", "TaskError", "ValueError"}
    assert len(failed) == 5 and len(records) == 19
    assert values["walk:/"] == "/"
    assert values["where:"] == str(faulty.person.folder), "where the worker, and so its children, were started"
    assert values["thread:"] is True
    assert values["surrogate:"] == "a\ud800b"
    assert values["nan:"] == ["NaN"]
    assert records[18]["value_base64"] == "/wA="
    assert "item 2 returned a set that JSON cannot hold" in failed[2][1]
    assert "item 4 returned a list that JSON cannot hold" in failed[4][1]
    fault = split(failed[6][1])
    assert fault.summary == "ValueError: invalid literal for int() with base 10: 'x'"
    assert fault.place.startswith(f"{faulty.person.folder}/tasks/task_faults.py:")
    assert "in <lambda>" in fault.traceback and "sheaf_worker" not in fault.traceback
    assert "printed a" in (faulty.person.folder / "log").read_text()

    shown = faulty.person.run("failures", run.manifest.run).stdout
    assert f"       2  ValueError at {fault.place}\n          item 6: raise:x\n          Traceback" in shown
    assert "       1  SystemExit at " in shown
    said = faulty.person.run("failures", run.manifest.run, "--json", "--error", "ValueError").stdout.splitlines()
    assert [json.loads(line)["place"] for line in said] == [fault.place] * 2
    assert faulty.person.run("failures", run.manifest.run, "--items").stdout.splitlines() == bad

    worker = faulty.workers[0]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0, "a thread that a task has left keeps no process from ending"


def test_files_that_items_leave_open_cost_the_others_nothing(faulty: Bench) -> None:
    """A process that has no more files to open is replaced, unblamed; an item that wants more than there are, fails."""
    items = [*["leak:200"] * 40, "leak:1000000", *["good"] * 10]
    run = submit(faulty, "task_faults:act", *items)

    records, failed = outcome(faulty, run)

    assert len(records) == 50
    assert failed.keys() == {40}
    error, message, attempts = failed[40]
    assert (error, attempts) == ("ProcessDied", 3)
    assert "all the files that it may have open were open" in message


def test_an_item_beyond_its_tasks_memory_fails_alone(faulty: Bench) -> None:
    """`memory_mb` of the decorator, enforced by the pool; the reason names it."""
    run = submit(faulty, "task_faults:fill", "good", "grow", "good", "good")

    records, failed = outcome(faulty, run)

    assert sorted(records) == [0, 2, 3]
    assert failed[1][0] == "ProcessDied" and failed[1][2] == 2
    assert "took more than the 150 MiB of memory_mb" in failed[1][1]


def test_async_items_share_one_process_and_one_that_blocks_it_fails_alone(faulty: Bench) -> None:
    """Twenty in flight; one raises three times; one holds up the loop, is killed for it, and the others are done."""
    items = [f"good {index}" for index in range(30)]
    items[7], items[21] = "raise", "block"
    run = submit(faulty, "task_faults:fetch", *items)

    records, failed = outcome(faulty, run)

    assert sorted(records) == [index for index in range(30) if index not in (7, 21)]
    assert failed[7][0] == "ConnectionError" and failed[7][2] == 3
    assert failed[21][0] == "Timeout"


def test_an_async_item_that_raises_what_is_no_exception_fails_alone(faulty: Bench) -> None:
    """Also one that starts a task which ends the loop; its process goes on."""
    items = [f"good {index}" for index in range(20)]
    items[3], items[9], items[14] = "panic", "interrupt", "beside"
    run = submit(faulty, "task_faults:panics", *items)

    records, failed = outcome(faulty, run)

    assert sorted(records) == [index for index in range(20) if index not in (3, 9, 14)]
    assert {index: error for index, (error, _, _) in failed.items()} == {
        3: "Panic",
        9: "KeyboardInterrupt",
        14: "SystemExit",
    }
    assert failed[3][1].startswith("Panic: boom ") and "in panics" in failed[3][1]


def test_a_setup_that_panics_is_told_of_with_its_traceback(faulty: Bench) -> None:
    """Not as a process that ended."""
    run = submit(faulty, "task_faults:without_model", "a", "b")

    records, failed = outcome(faulty, run)

    assert not records
    assert failed[0] == failed[1]
    assert failed[0][0] == "TaskError"
    assert "the setup of 'task_faults:without_model' raised Panic: no model" in failed[0][1]
    assert "in open_nothing" in failed[0][1]


def test_a_stream_is_answered_item_by_item(faulty: Bench) -> None:
    """What the generator raises is found out item by item; its setup is closed when the child ends."""
    items = [f"{index} " for index in range(200)]
    items[150] = "bad"
    run = submit(faulty, "task_faults:double", *items)

    records, failed = outcome(faulty, run)

    assert {index: record["value"] for index, record in records.items()} == {
        index: item * 2 for index, item in enumerate(items) if index != 150
    }
    assert failed.keys() == {150}
    assert failed[150][0] == "ValueError" and "in answer" in failed[150][1]
    worker = faulty.workers[0]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    assert (faulty.person.folder / "open.log").read_text() == "open\nclose\n"


def test_no_value_of_a_stream_stands_beside_another_item(faulty: Bench) -> None:
    """A generator that never catches up leaves items out: those fail, by its name, and all others have their own."""
    items = [f"{index:04}" for index in range(2000)]
    run = submit(faulty, "task_faults:forgetful", *items)

    records, failed = outcome(faulty, run)

    left_out = [index for index, item in enumerate(items) if item.endswith("55")]
    assert sorted(failed) == left_out
    assert {index: record["value"] for index, record in records.items()} == {
        index: item * 2 for index, item in enumerate(items) if index not in left_out
    }
    error, message, attempts = failed[55]
    assert (error, attempts) == ("GeneratorMiscounts", 1)
    assert "the generator 'task_faults:forgetful' gave 0 values for 1 item" in message


def test_a_stream_that_does_not_come_back_is_ended(faulty: Bench) -> None:
    """Also from an item that has its value already; those before it are done."""
    run = submit(faulty, "task_faults:never_back", *"abcd", "hang", *"efgh")

    records, failed = outcome(faulty, run)

    assert failed.keys() == {4} and failed[4][0] == "Timeout"
    assert sorted(records) == [0, 1, 2, 3, 5, 6, 7, 8]


def test_time_counts_for_each_attempt_and_not_for_the_pauses(faulty: Bench) -> None:
    """Two attempts of 0.8 s and a pause are more than 1.5 s, and are not killed; an attempt that hangs is."""
    run = submit(faulty, "task_faults:patient", "slow", "hang", "good")

    records, failed = outcome(faulty, run)

    assert sorted(records) == [2]
    assert (failed[0][0], failed[0][2]) == ("ValueError", 2)
    assert failed[1][0] == "Timeout"


def test_an_item_of_more_than_64_mb_comes_through(faulty: Bench) -> None:
    """In and out: the item's text is in its record."""
    large = "length:" + "x" * (70 << 20)
    run = submit(faulty, "task_faults:act", "good", large, "good")

    records, failed = outcome(faulty, run)

    assert failed == {}
    assert records[1]["value"] == 70 << 20
    assert len(records[1]["item"]) == len(large)
