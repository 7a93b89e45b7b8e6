"""Which process does what: none that has imported a user's module does anything of another one."""

from __future__ import annotations

import time
from pathlib import Path

from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.pool import Pool, TaskRun
from tests.integration.pool.helpers import ACT, MakePool, alive, gather, items, turn_until, value, wait_until
from tests.pool_child import with_spec

SPOILS = """
import decimal, string

def act(text):
    decimal.getcontext().prec = 3
    string.digits = "spoilt"
"""
DIVIDES = "import decimal, string\ndef act(text):\n    return f'{decimal.Decimal(1) / 7} {string.digits}'\n"
PID = "import os\ndef act(text):\n    return os.getpid()\n"
MODEL = """
import os
from sheaf import task

@task(setup=lambda: "a model")
def with_model(text, model):
    return os.getpid()

def without(text):
    return os.getpid()
"""


def one(pool: Pool, task: str, number: int) -> object:
    """Do one item of a run of its own; return its value."""
    pool.add(TaskRun(f"run-{number}", TaskSpec(task), "out.jsonl"), items("x"))
    return value(gather(pool, 1)[0])


def test_what_a_module_changes_is_no_other_modules_concern(make_pool: MakePool, tasks_dir: Path) -> None:
    """One sets the decimal context to three digits, and patches a library; the next run's module finds all as ever."""
    (tasks_dir / "spoils.py").write_text(SPOILS)
    (tasks_dir / "divides.py").write_text(DIVIDES)
    pool = make_pool(1)
    expected = "0.1428571428571428571428571429 0123456789"

    for number in range(0, 6, 2):
        one(pool, "spoils:act", number)
        assert one(pool, "divides:act", number + 1) == expected


def test_modules_that_alternate_keep_their_processes(make_pool: MakePool, tasks_dir: Path) -> None:
    """Each has one that knows it: none is started again and again."""
    (tasks_dir / "first.py").write_text(PID)
    (tasks_dir / "second.py").write_text(PID)
    pool = make_pool(1)

    pids = [one(pool, f"{'first' if number % 2 else 'second'}:act", number) for number in range(20)]

    assert len(set(pids[::2])) == len(set(pids[1::2])) == 1
    assert pids[0] != pids[1]


def test_a_module_keeps_its_process_from_run_to_run(make_pool: MakePool) -> None:
    """The same module in the next run: nothing is imported anew; a library function gets a process without it."""
    pool = make_pool(1)
    first = one(pool, "pool_tasks:act", 0)
    assert first == "x"
    pid = pool.children[0].pid

    one(pool, "pool_tasks:echo", 1)
    assert pool.children[0].pid == pid

    one(pool, "builtins:str", 2)
    assert pool.children[0].pid != pid


def test_a_process_that_holds_a_model_does_nothing_of_another_task(make_pool: MakePool, tasks_dir: Path) -> None:
    """What `setup` has opened stays for runs of that very task; for another one there is a process without it."""
    (tasks_dir / "model.py").write_text(MODEL)
    pool = make_pool(1)
    holder = one(pool, "model:with_model", 0)

    assert one(pool, "model:with_model", 1) == holder
    assert one(pool, "model:without", 2) != holder
    turn_until(pool, lambda: not alive(int(str(holder))), results={})


def test_another_version_of_a_module_gets_another_process(make_pool: MakePool, tasks_dir: Path) -> None:
    """Nothing of the old one is left in it."""
    pool = make_pool(1)
    one(pool, "pool_tasks:act", 0)
    before = pool.children[0].pid
    # The run says nothing of files here, as one of an old submission does; one that does is another version.
    program = TaskRun("run-1", TaskSpec("pool_tasks:act", files={}), "out.jsonl")

    assert next(iter(pool._places.children)).suits(program)
    assert not next(iter(pool._places.children)).suits(with_spec(program, files={"pool_tasks.py": "other"}))
    assert pool.children[0].pid == before


def test_fresh_processes_stand_ready_and_end_with_the_pool(make_pool: MakePool, tasks_dir: Path) -> None:
    """Once a user's module is in use: the next module need not wait for a process to start."""
    (tasks_dir / "first.py").write_text(PID)
    pool = make_pool(1)
    one(pool, "pool_tasks:act", 0)
    turn_until(pool, lambda: [child.state.value for child in pool._places.without] == ["idle"])
    ready = pool._places.without[0].pid

    assert one(pool, "first:act", 1) == ready

    turn_until(pool, lambda: len(pool._places.without) == 2)
    pids = [child.pid for child in (*pool._places.children, *pool._places.without)]
    pool.close(grace_s=1)
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_only_as_many_processes_change_as_there_are_items(make_pool: MakePool, tasks_dir: Path) -> None:
    """A run of one item takes one place; the others keep what they know."""
    (tasks_dir / "first.py").write_text(PID)
    pool = make_pool(2)
    pool.add(ACT, items(*["sleep:0.3"] * 4))
    gather(pool, 4)
    before = {child.pid for child in pool.children}

    one(pool, "first:act", 1)

    turned = time.monotonic() + 0.3
    turn_until(pool, lambda: time.monotonic() > turned)
    assert len({child.pid for child in pool.children} - before) == 1
