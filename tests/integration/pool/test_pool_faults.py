"""The pool, with processes that are killed, stopped and hung in every way we could think of."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from sheaf.run.items import Done, Result
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import TaskRun
from tests.integration.pool.helpers import (
    ACT,
    MakePool,
    alive,
    failure,
    gather,
    items,
    turn_until,
    value,
    wait_until,
)
from tests.pool_child import with_spec


@pytest.mark.parametrize(
    ("poison", "words"),
    [
        ("kill", "signal 9 (SIGKILL): out of memory"),
        ("segfault", "signal 11 (SIGSEGV): a crash in native code"),
        ("exit:7", "exit status 7"),
        ("close-all", "closed, or wrote to, the pipe"),
    ],
)
def test_an_item_that_kills_its_process_fails_alone(make_pool: MakePool, poison: str, words: str) -> None:
    """Poison among good items: it is tried as often as it may be, then fails with a reason; the others succeed."""
    pool = make_pool(2)
    pool.add(with_spec(ACT, attempts=2), items(*range(50), poison, *range(51, 100)))
    results = gather(pool, 100)
    failed = failure(results.pop(50))
    assert (failed.error, failed.attempts) == ("ProcessDied", 2)
    assert words in failed.message
    assert all(value(result) == str(index) for index, result in results.items())
    assert sum(child.deaths for child in pool.children) == 2


def test_when_memory_runs_out_the_kernel_takes_a_process_of_the_pool(make_pool: MakePool) -> None:
    """Not the worker, whose death would cost all of its batches: its children ask to be taken first."""
    pool = make_pool(1)
    pool.add(ACT, items("oom-score"))
    own = int(Path("/proc/self/oom_score_adj").read_text())

    assert value(gather(pool, 1)[0]) == 500 > own


@pytest.mark.parametrize(("bad", "error"), [("raise", "ZeroDivisionError"), ("leave:3", "SystemExit")])
def test_an_exception_fails_its_item_only(make_pool: MakePool, bad: str, error: str) -> None:
    """What a task raises, sys.exit() included, is the item's failure; no process is lost."""
    pool = make_pool(1)
    pool.add(ACT, items("a", bad, "b"))
    results = gather(pool, 3)
    assert failure(results[1]).error == error
    assert [value(results[0]), value(results[2])] == ["a", "b"]
    assert [child.deaths for child in pool.children] == [0]


def test_a_killed_child_loses_nothing(make_pool: MakePool, tmp_path: Path) -> None:
    """kill -9 from outside, in mid-item: that item is tried again and succeeds, as do all others."""
    pool = make_pool(2)
    pool.add(ACT, items(*range(200), f"die-once:{tmp_path}/died", *range(201, 400)))
    results = gather(pool, 400)
    assert value(results[200]) == "survived"
    assert all(isinstance(result, Done) for result in results.values())


def test_what_a_dead_child_had_finished_is_not_done_again(make_pool: MakePool, tmp_path: Path) -> None:
    """Results that are in the pipe when their child dies are taken, not thrown away."""
    pool = make_pool(1)
    once = with_spec(ACT, attempts=1)
    pool.add(once, items(*range(1000)))
    gather(pool, 1000)  # the child is known to be fast now, and is given all of the following at once
    pool.paused = True
    pool.add(once, items(*[f"note:{tmp_path}/{n}" for n in range(20)], "late-kill"))
    results = gather(pool, 21)  # while paused: these come out because the child is dead
    assert failure(results[20]).error == "ProcessDied"
    assert [len((tmp_path / str(n)).read_text().split()) for n in range(20)] == [1] * 20


@pytest.mark.parametrize(("poison", "error"), [("kill", "ProcessDied"), ("raise", "ValueError")])
def test_of_many_items_in_hand_only_the_harmful_fail(make_pool: MakePool, poison: str, error: str) -> None:
    """A task with 8 items in hand dies, or lets an exception escape: each suspect is tried alone, the harmful fail."""
    pool = make_pool(2)
    many = TaskRun("many", TaskSpec("pool_tasks_many:echo", attempts=2), "out.jsonl")
    pool.add(many, items(*range(30), poison, *range(31, 60), poison, *range(61, 90)))
    results = gather(pool, 90)
    failed = [failure(results.pop(30)), failure(results.pop(60))]
    assert [(result.error, result.attempts) for result in failed] == [(error, 2)] * 2
    assert all(isinstance(result, Done) for result in results.values())


def test_a_hang_in_native_code_is_ended(make_pool: MakePool, tmp_path: Path) -> None:
    """Code that never lets Python run again is still held to the item's time; the others get on."""
    pool = make_pool(2)
    pool.add(with_spec(ACT, item_timeout_s=0.5), items("a", f"hang:{tmp_path}/note", *range(100)))
    results = gather(pool, 102)
    assert failure(results.pop(1)).error == "Timeout"
    assert all(isinstance(result, Done) for result in results.values())


def test_an_idle_child_that_is_killed_is_replaced(make_pool: MakePool) -> None:
    """It had nothing, so nothing is charged; the pool is whole again at once."""
    pool = make_pool(2)
    pool.add(ACT, items("pid"))
    gather(pool, 1)
    before = {child.pid for child in pool.children}
    os.kill(min(before), signal.SIGKILL)
    turn_until(pool, lambda: len({child.pid for child in pool.children} - before) == 1 and len(pool.children) == 2)
    pool.add(ACT, items(*range(100)))
    assert all(isinstance(result, Done) for result in gather(pool, 100).values())


def test_a_pool_that_gets_no_process_says_so_until_it_gets_one(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine has too many processes, say: that is the problem of the pool, by its cause, while it lasts."""
    pool = make_pool(1)
    turn_until(pool, lambda: pool.problem is None and len(pool.children) == 1)

    def refused(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("sheaf_worker.pool.pool.ChildProcess", refused)
    os.kill(pool.children[0].pid, signal.SIGKILL)
    turn_until(pool, lambda: pool.problem is not None)
    assert "no process of the pool can be started ([Errno 11] Resource temporarily" in (pool.problem or "")

    monkeypatch.undo()
    pool.add(ACT, items(1))
    assert isinstance(gather(pool, 1)[0], Done)
    assert pool.problem is None


#: In a process of the pool, before all else: what it imports of ours cannot be opened while a file says so.
LACK = """
import builtins, errno, os

def imported(name, *arguments, original=builtins.__import__, **keywords):
    if name in ("sheaf.tasks.exec.task", "sheaf.tasks.function.task") and os.path.exists({flag!r}):
        raise OSError(errno.EMFILE, "Too many open files")
    return original(name, *arguments, **keywords)

builtins.__import__ = imported
"""


def test_processes_that_may_open_nothing_fail_no_item_of_our_own_tasks(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They cannot even import the task: that is shown for as long as it lasts, and no item is charged."""
    flag = tmp_path / "lack"
    flag.touch()
    (tmp_path / "sitecustomize.py").write_text(LACK.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *filter(None, sys.path))))
    pool, results = make_pool(1), dict[int, Result]()
    pool.add(TaskRun("r", TaskSpec("exec", {"command": ["echo", "{}"]}, attempts=1), "out.jsonl"), items(*range(3)))

    turn_until(pool, lambda: pool.problem is not None, results=results)
    assert "it cannot begin with 'exec': OSError: [Errno 24] Too many open files" in (pool.problem or "")
    # More often than a run's module may end its processes.
    deaths = pool.children[0].deaths if pool.children else 0
    turn_until(pool, lambda: any(child.deaths >= deaths + 3 for child in pool.children), results=results)
    assert results == {}

    flag.unlink()
    turn_until(pool, lambda: len(results) == 3, results=results)
    assert all(isinstance(result, Done) for result in results.values())
    assert pool.problem is None


def test_an_item_that_takes_too_long_fails(make_pool: MakePool) -> None:
    """Its process is killed; what waited behind it goes to others and succeeds."""
    pool = make_pool(1)
    pool.add(with_spec(ACT, item_timeout_s=0.3), items("a", "sleep:1000", *"bcdefgh"))
    results = gather(pool, 9)
    failed = failure(results.pop(1))
    assert (failed.error, failed.attempts) == ("Timeout", 1)
    assert "0.3 s" in failed.message
    assert all(isinstance(result, Done) for result in results.values())


def test_a_stopped_child_is_killed_when_its_item_is_overdue(make_pool: MakePool, tmp_path: Path) -> None:
    """SIGSTOP: a process that cannot even notice anything is still held to its item's time."""
    pool = make_pool(2)
    started = tmp_path / "started"
    pool.add(with_spec(ACT, item_timeout_s=1.0), items(f"hold:{started}", *range(50)))
    results: dict[int, Result] = {}
    turn_until(pool, lambda: started.exists() and started.read_text().endswith("\n"), results=results)
    os.kill(int(started.read_text()), signal.SIGSTOP)
    turn_until(pool, lambda: len(results) == 51, results=results)
    assert failure(results.pop(0)).error == "Timeout"
    assert all(isinstance(result, Done) for result in results.values())


def test_a_child_that_was_stopped_between_items_holds_nothing_up(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a time limit, too: what it has not begun goes to others, and it is replaced."""
    monkeypatch.setattr("sheaf_worker.pool.watchdog._SILENT_S", 0.3)
    monkeypatch.setattr("sheaf_worker.pool.watchdog._ANSWER_S", 0.3)
    pool = make_pool(2)
    pool.add(ACT, items("a"))
    gather(pool, 1)
    stopped = next(child.pid for child in pool.children if child.done)
    os.kill(stopped, signal.SIGSTOP)
    pool.add(ACT, items(*range(100)))
    assert all(isinstance(result, Done) for result in gather(pool, 100).values())
    turn_until(pool, lambda: stopped not in [child.pid for child in pool.children])


def test_items_that_never_reached_their_child_are_done_by_another(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a message get lost, whyever: the child that cannot say what became of its items is replaced."""
    monkeypatch.setattr("sheaf_worker.pool.watchdog._SILENT_S", 0.3)
    pool = make_pool(1)
    pool.add(ACT, items("a"))
    gather(pool, 1)
    (child,) = pool._places.children
    monkeypatch.setattr(child.channel, "send", lambda frame: None)
    pool.add(ACT, items(*range(10)))
    pool.poll(0)
    assert child.outstanding
    monkeypatch.undo()
    monkeypatch.setattr("sheaf_worker.pool.watchdog._SILENT_S", 0.3)

    assert set(gather(pool, 10)) == set(range(10))
    assert child.pid not in [child.pid for child in pool.children]


def test_output_of_a_task_harms_nobody(make_pool: MakePool, capfd: pytest.CaptureFixture[str]) -> None:
    """What a task prints goes to stderr, with the logs; stdout stays ours."""
    pool = make_pool(1)
    pool.add(ACT, items("print:1000000"))
    assert value(gather(pool, 1)[0]) is None
    pool.close(grace_s=5)
    out, err = capfd.readouterr()
    assert (len(out), err.count("x")) == (0, 1_000_000)


@pytest.mark.parametrize(
    ("task", "words"),
    [("absent:f", "absent"), ("broken:f", "broken.py:2"), ("fatal:f", "exit status 5"), ("pool_tasks:none", "none")],
)
def test_a_task_that_cannot_be_used_fails_its_items(
    make_pool: MakePool, tasks_dir: Path, task: str, words: str
) -> None:
    """They fail at once, with the file and line where there is one, instead of restarting for ever; others go on."""
    (tasks_dir / "broken.py").write_text("\n1 +\n")
    (tasks_dir / "fatal.py").write_text("import os\nos._exit(5)\n")
    pool = make_pool(2)
    bad = TaskRun("bad", TaskSpec(task), "out.jsonl")
    pool.add(bad, items(*range(10)))
    failed = [failure(result) for result in gather(pool, 10).values()]
    assert {result.error for result in failed} == {"TaskError"}
    assert words in failed[0].message
    pool.add(bad, items("late"))
    assert failure(gather(pool, 1)[0]).error == "TaskError"
    pool.add(ACT, items("a"))
    assert value(gather(pool, 1)[0]) == "a"


def test_no_process_is_left_after_close(make_pool: MakePool, tmp_path: Path) -> None:
    """Busy, stopped or idle: when close() returns, all are gone."""
    pool = make_pool(3)
    started = tmp_path / "started"
    pool.add(ACT, items(f"hold:{started}"))
    turn_until(pool, lambda: started.exists() and len(pool.children) == 3)
    pids = [child.pid for child in pool.children]
    idle = next(pid for pid in pids if pid != int(started.read_text()))
    os.kill(idle, signal.SIGSTOP)
    pool.close(grace_s=0.2)
    assert not any(alive(pid) for pid in pids)


def test_what_a_task_leaves_running_ends_with_its_process(make_pool: MakePool, tmp_path: Path) -> None:
    """A command that a task started does not outlive the task's process."""
    pool = make_pool(1)
    left = tmp_path / "left"
    pool.add(with_spec(ACT, attempts=1), items(f"leave-behind:{left}"))
    assert failure(gather(pool, 1)[0]).error == "ProcessDied"
    wait_until(lambda: not alive(int(left.read_text())))


def test_no_process_outlives_a_killed_worker(tasks_dir: Path, tmp_path: Path) -> None:
    """kill -9 of the worker takes its busy children with it, even one that is stuck in native code."""
    started = tmp_path / "started"
    code = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from sheaf.run.items import Item
        from sheaf.run.task_spec import TaskSpec
        from sheaf_worker.pool.pool import Pool, TaskRun
        pool = Pool(2, tasks_dir=Path({str(tasks_dir)!r}))
        pool.start()
        program = TaskRun("run", TaskSpec("pool_tasks:act"), "out.jsonl")
        pool.add(program, [Item(0, "hold:{started}"), Item(1, "hang:{started}")])
        while True:
            pool.poll(0.1)
    """
    # A script without `if __name__ == "__main__"`: children must not import the worker's main script.
    script = tmp_path / "worker_script.py"
    script.write_text(textwrap.dedent(code))
    worker = subprocess.Popen([sys.executable, str(script)])
    try:
        wait_until(lambda: started.exists() and len(started.read_text().split()) == 2)
        pids = [int(line) for line in started.read_text().split()]
        assert all(alive(pid) for pid in pids)
    finally:
        worker.kill()
        worker.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
