"""When what is finished is due to be committed. A group that never became due would make these tests wait for ever."""

from __future__ import annotations

import threading

import pytest

from sheaf.batch import Done
from sheaf_worker.gathering import Gathering
from tests.unit.test_holdings import a_run, done

NEVER_S = 1000.0


def test_a_group_is_due_when_it_is_large_old_or_all_there_is() -> None:
    run = a_run()
    large = Gathering(1000, NEVER_S)
    large.add(run, [Done(0, b"x" * 400)])
    large.add(run, [Done(1, b"x" * 600)])
    old = Gathering(1000, 0.01)
    old.add(run, done(0))
    idle = Gathering(1000, NEVER_S)
    idle.add(run, done(0))
    idle.flush()
    closing = Gathering(1000, NEVER_S)
    closing.add(run, done(0))
    closing.close()

    for gathering in (large, old, idle, closing):
        assert gathering.wait()
    assert large.take() == {"run-1": [Done(0, b"x" * 400), Done(1, b"x" * 600)]}
    closing.take()
    assert not closing.wait()


@pytest.mark.parametrize("late", ["add", "flush", "close"])
def test_whoever_waits_is_woken(late: str) -> None:
    """The thread sleeps while nothing is due."""
    gathering = Gathering(1000, NEVER_S)
    if late != "add":
        gathering.add(a_run(), done(0))
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(gathering.wait()))
    waiter.start()

    if late == "add":
        gathering.add(a_run(), [Done(0, b"x" * 1000)])
    else:
        getattr(gathering, late)()

    waiter.join(60)
    assert answers == [True]


def test_what_a_program_waits_for_is_due_soon() -> None:
    """Also if other things lie there that may wait for long."""
    gathering = Gathering(1000, NEVER_S)
    gathering.add(a_run(), done(0))
    gathering.add(a_run("session-2026-1"), done(0))

    assert gathering.wait()
    assert set(gathering.take()) == {"run-1", "session-2026-1"}


def test_what_is_being_written_still_counts() -> None:
    """A worker pauses its pool by this number, and is not idle before it is nothing."""
    gathering = Gathering(1000, NEVER_S)
    gathering.add(a_run(), [Done(0, b"x" * 400)])
    gathering.take()
    gathering.add(a_run("run-2"), [Done(0, b"x" * 50)])
    assert gathering.bytes == 450
    gathering.written()
    assert gathering.bytes == 50
    assert gathering.busy
    gathering.take()
    assert gathering.busy
    gathering.written()
    assert gathering.bytes == 0
    assert not gathering.busy


def test_a_finished_run_is_kept_while_something_of_it_waits() -> None:
    """What came a second time is committed, too, which finds that it is there already."""
    gathering = Gathering(1000, NEVER_S)
    for name in ("run-1", "run-2"):
        gathering.add(a_run(name), done(0))
    gathering.take()
    gathering.add(a_run("run-2"), done(0))
    gathering.forget(["run-1", "run-2"])

    assert gathering.run("run-2").manifest.run == "run-2"
    with pytest.raises(KeyError):
        gathering.run("run-1")
