"""Items that end their process when they are long done, and runs that are no longer wanted."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sheaf.run.items import Done, Result
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import Pool, TaskRun
from sheaf_worker.pool.results import HandlingFailed
from tests.integration.pool.helpers import ACT, MakePool, failure, gather, items, turn_until, value
from tests.patches import raising
from tests.pool_child import with_spec

#: What a task might write that does not know what its descriptors are: text that names a length of 1.8 GB, nothing
#: but zeros, less than a length, a frame of the right form that is no message.
_SPOILING = ["hello, world\n", "\0" * 64, "ab", "\0\0\0\5(\1\0\0\0"]


@pytest.mark.unmeasured
@pytest.mark.parametrize("count", [1, 40, 1000])
@pytest.mark.parametrize("size", [1, 2])
def test_an_item_that_closes_its_process_files_fails_alone(make_pool: MakePool, size: int, count: int) -> None:
    """It has returned, so nothing is in hand when its process finds the pipe closed: it fails after its attempts."""
    pool = make_pool(size)
    pool.add(ACT, items(*range(count)))
    gather(pool, count)  # the children know how fast such items are, and get many at once
    bad = count // 3
    pool.add(
        with_spec(ACT._replace(run="bad"), attempts=2), items(*range(bad), "close-and-go:", *range(bad + 1, count))
    )

    results = gather(pool, count)

    failed = failure(results.pop(bad))
    assert (failed.error, failed.attempts) == ("ProcessDied", 2)
    assert "closed, or wrote to, the pipe" in failed.message
    assert all(value(result) == str(index) for index, result in results.items())


def test_an_item_with_one_attempt_is_not_blamed_for_another(make_pool: MakePool) -> None:
    """Whatever is in hand when the process finds its pipe closed by an item before: only that one fails."""
    pool = make_pool(1)
    once = with_spec(ACT, attempts=1)
    pool.add(once, items(*range(500)))
    gather(pool, 500)  # of such a run, all that comes is sent at once
    pool.add(once, items("close-and-go:", *["sleep:0.2"] * 3))

    results = gather(pool, 4)

    assert failure(results.pop(0)).error == "ProcessDied"
    assert all(isinstance(result, Done) for result in results.values())


@pytest.mark.parametrize("text", _SPOILING)
def test_what_an_item_writes_into_the_pipe_harms_only_itself(make_pool: MakePool, text: str) -> None:
    """Neither the worker nor another item suffers, and the run ends."""
    pool = make_pool(2)
    pool.add(with_spec(ACT, attempts=2), items(*range(20), f"spoil-pipe:{text}", *range(21, 40)))

    results = gather(pool, 40)

    failed = failure(results.pop(20))
    assert (failed.error, failed.attempts) == ("ProcessDied", 2)
    assert all(isinstance(result, Done) for result in results.values())


def test_what_an_item_reads_from_the_pipe_costs_no_other_its_result(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is replaced that has lost a message, and what it had is done by another."""
    monkeypatch.setattr("sheaf_worker.pool.watchdog._SILENT_S", 0.5)
    monkeypatch.setattr("sheaf_worker.pool.watchdog._ANSWER_S", 1.0)
    pool = make_pool(1)
    pool.add(with_spec(ACT, attempts=2), items(*range(20), "drain-pipe:", *range(21, 40)))

    results = gather(pool, 40)

    results.pop(20)  # its own result may have come through, or not
    assert all(isinstance(result, Done) for result in results.values())


def test_items_that_another_has_taken_out_of_the_pipe_are_done(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their child knows nothing of them, answers that it has none, and is replaced."""
    monkeypatch.setattr("sheaf_worker.pool.watchdog._SILENT_S", 0.5)
    pool = make_pool(1)
    pool.add(ACT, items(*range(500)))
    gather(pool, 500)  # of such a run, all that comes is sent at once
    pool.add(ACT, items(f"swallow:{tmp_path}/mark"))
    results: dict[int, Result] = {}
    turn_until(pool, (tmp_path / "mark").exists, results=results)

    pool.add(ACT, [item._replace(index=item.index + 1) for item in items(*range(20))])

    turn_until(pool, lambda: len(results) == 21, results=results)
    assert int(str(value(results.pop(0)))) > 0
    assert all(isinstance(result, Done) for result in results.values())


def test_an_item_whose_thread_kills_the_process_costs_no_other_its_result(make_pool: MakePool) -> None:
    """It is done, and its process dies 50 ms later, again and again: those that suffer are tried anew, and succeed."""
    pool = make_pool(2)
    once = with_spec(ACT, attempts=1)
    quick = [f"quick {number}" for number in range(300)]
    pool.add(once, items("kill-later:0.05", *quick, "kill-later:0.05", *quick))

    results = gather(pool, 602)

    # One that was in hand when it happened cannot be distinguished from one that killed its process.
    assert sum(not isinstance(result, Done) for result in results.values()) <= 2


@pytest.mark.serial
@pytest.mark.parametrize("what", ["hang:{}", "hold:{}", "sleep:1000"])
def test_a_child_that_hangs_on_a_forgotten_run_is_replaced(make_pool: MakePool, tmp_path: Path, what: str) -> None:
    """Its run is cancelled: within two seconds the process is another run's, and nothing is in hand meanwhile."""
    pool = make_pool(1)
    pool.add(ACT, items(what.format(tmp_path / "note"), "behind it"))
    turn_until(pool, lambda: bool(next(iter(pool._places.children)).slots.in_hand()))

    pool.forget("run")
    forgotten = time.monotonic()

    assert pool.in_hand == 0
    pool.add(ACT._replace(run="other"), items("a"))
    assert value(gather(pool, 1)[0]) == "a"
    assert time.monotonic() - forgotten < 10  # 2 s, on a machine with nothing else to do


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        ("import asyncio\nasync def echo(text): await asyncio.sleep(1000)\n", True),
        ("import time\ntime.sleep(1000)\ndef echo(text): return text\n", False),
    ],
)
def test_many_items_in_hand_and_imports_are_let_go_of_too(
    make_pool: MakePool, tasks_dir: Path, text: str, begun: bool
) -> None:
    """A task with several items in hand, one whose import never ends: their processes are replaced as well."""
    (tasks_dir / "never_ends.py").write_text(text)
    pool = make_pool(1)
    pool.add(TaskRun("run", TaskSpec("never_ends:echo"), "out.jsonl"), items(*range(30)))
    turn_until(pool, lambda: pool.children[0].run == "run" and pool.in_hand >= begun)

    pool.forget("run")

    pool.add(ACT._replace(run="other"), items("a"))
    assert value(gather(pool, 1)[0]) == "a"


def test_a_child_that_finishes_what_it_has_of_a_forgotten_run_stays(make_pool: MakePool) -> None:
    """Nothing of that run comes out any more, and its process is not thrown away."""
    pool = make_pool(1)
    pool.add(ACT, items("sleep:0.3", *["pid"] * 50))
    turn_until(pool, lambda: pool.in_hand > 0)
    pid = pool.children[0].pid

    pool.forget("run")
    pool.add(ACT, items("pid"))  # the same run, taken up again

    assert {index: value(result) for index, result in gather(pool, 1).items()} == {0: pid}


def test_mapped_files_are_not_a_process_own_memory(make_pool: MakePool, tmp_path: Path) -> None:
    """An item that looks into a file of 200 MiB by a mapping stays within a limit of 60 MiB."""
    with (tmp_path / "big").open("wb") as file:
        file.truncate(200 << 20)
    pool = make_pool(1)
    pool.add(with_spec(ACT, memory_mb=60, attempts=1), items("a", f"look-into:{tmp_path}/big", "b"))

    assert all(isinstance(result, Done) for result in gather(pool, 3).values())


def test_a_pool_whose_children_die_idle_blames_nobody(make_pool: MakePool) -> None:
    """kill -9 from outside of one that has been given items and has begun none: all of them are done."""
    pool: Pool = make_pool(1)
    pool.add(with_spec(ACT, attempts=1), items("a"))
    gather(pool, 1)
    results: dict[int, Result] = {}
    for number in range(5):
        os.kill(pool.children[0].pid, signal.SIGSTOP)
        pool.add(with_spec(ACT._replace(run=f"run-{number}"), attempts=1), items("a", "b"))
        pool.poll(0)
        os.kill(pool.children[0].pid, signal.SIGKILL)
        results = gather(pool, 2)
        assert all(isinstance(result, Done) for result in results.values())


def test_items_that_all_wait_for_the_cluster_fail_with_the_reason(
    make_pool: MakePool, tasks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many have lent their places as may: it is said, and one by one they fail, so that what follows is done."""
    monkeypatch.setattr("sheaf_worker.pool.lending.LEAST", 1)
    monkeypatch.setattr("sheaf_worker.pool.lending.FOR_EACH", 0)
    monkeypatch.setattr("sheaf_worker.pool.lending.REPORTED_S", 0.2)
    monkeypatch.setattr("sheaf_worker.pool.lending.STUCK_S", 0.6)
    (tasks_dir / "waits.py").write_text(
        "import time\nfrom sheaf.core.waits import waiting\n"
        "def act(text):\n    if text != 'wait':\n        return text\n    with waiting:\n        time.sleep(1000)\n"
    )
    pool = make_pool(1)
    results: dict[int, Result] = {}
    pool.add(TaskRun("run", TaskSpec("waits:act", attempts=1), "out.jsonl"), items("wait", "wait", "a"))

    turn_until(pool, lambda: pool.problem is not None, results=results)
    assert "all 1 processes of this worker run tasks that wait for the cluster" in str(pool.problem)
    turn_until(pool, lambda: len(results) >= 2, results=results)

    assert value(results.pop(2)) == "a"
    failed = failure(results.popitem()[1])
    assert failed.error == "ProcessDied"
    assert "its calls are nested too deep" in failed.message


def test_a_place_that_was_lent_is_another_items(make_pool: MakePool, tasks_dir: Path) -> None:
    """While one waits for the cluster another process does what comes; its own item is finished in peace."""
    (tasks_dir / "waits.py").write_text(
        "import time\nfrom pathlib import Path\nfrom sheaf.core.waits import waiting\n"
        "def act(text):\n    with waiting:\n        while not Path(text).exists():\n            time.sleep(0.01)\n"
        "    return 'waited'\n"
    )
    mark = tasks_dir / "mark"
    pool = make_pool(1)
    results: dict[int, Result] = {}
    pool.add(TaskRun("run", TaskSpec("waits:act"), "out.jsonl"), items(mark))
    # On a busy machine it might be the others' turn before it has begun.
    turn_until(pool, lambda: "run" in pool.in_progress(), results=results)
    pool.add(ACT._replace(run="other"), [item._replace(index=item.index + 1) for item in items("a", "b")])
    turn_until(pool, lambda: len(results) == 2, results=results)
    assert (pool.in_hand, pool.problem) == (1, None)
    assert pool.in_progress()["run"].item == 0  # or it could not be said what the run waits for

    mark.touch()

    turn_until(pool, lambda: len(results) == 3, results=results)
    assert [value(results[index]) for index in range(3)] == ["waited", "a", "b"]
    turn_until(pool, lambda: not pool._places.lent, results=results)
    assert len(pool.children) == 1


def test_an_error_of_ours_at_a_good_message_is_no_childs_fault(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the message reported may be lost then: the worker has to end, so that others do all of it again."""
    pool = make_pool(1)
    pool.add(ACT, items(*range(20)))
    monkeypatch.setattr("sheaf_worker.pool.outstanding.Outstanding.take", raising(KeyError("a fault of ours")))

    with pytest.raises(HandlingFailed, match="a fault of ours"):
        gather(pool, 20)
