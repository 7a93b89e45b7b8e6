"""When what is finished is due to be committed. A group that never became due would make these tests wait for ever."""

from __future__ import annotations

import threading

import pytest

from sheaf.run.items import Done
from sheaf_worker.commit.buffer import CommitBuffer
from tests.unit.test_in_flight import a_run, done

NEVER_S = 1000.0


def buffer_of(most_bytes: int = 1000, most_s: float = NEVER_S) -> CommitBuffer:
    return CommitBuffer(most_bytes, most_s, on_room=lambda: None)


def test_a_group_is_due_when_it_is_large_old_or_all_there_is() -> None:
    run = a_run()
    large = buffer_of()
    large.add(run, [Done(0, b"x" * 400)])
    large.add(run, [Done(1, b"x" * 600)])
    old = buffer_of(most_s=0.01)
    old.add(run, done(0))
    idle = buffer_of()
    idle.add(run, done(0))
    idle.flush()
    closing = buffer_of()
    closing.add(run, done(0))
    closing.close()

    for buffer in (large, old, idle, closing):
        assert buffer.wait()
    assert large.take() == {"run-1": [Done(0, b"x" * 400), Done(1, b"x" * 600)]}
    closing.take()
    assert not closing.wait()


@pytest.mark.parametrize("late", ["add", "flush", "close"])
def test_whoever_waits_is_woken(late: str) -> None:
    """The thread sleeps while nothing is due."""
    buffer = buffer_of()
    if late != "add":
        buffer.add(a_run(), done(0))
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(buffer.wait()))
    waiter.start()

    if late == "add":
        buffer.add(a_run(), [Done(0, b"x" * 1000)])
    else:
        getattr(buffer, late)()

    waiter.join(60)
    assert answers == [True]


def test_what_a_program_waits_for_is_due_soon() -> None:
    """Also if other things are there that may wait for long."""
    buffer = buffer_of()
    buffer.add(a_run(), done(0))
    buffer.add(a_run("session-2026-1"), done(0))

    assert buffer.wait()
    assert set(buffer.take()) == {"run-1", "session-2026-1"}


def test_a_short_run_does_not_wait_for_a_long_one() -> None:
    """Its first records are due soon, since others are at work; the long one's next ones have time."""
    buffer = buffer_of()
    buffer.add(a_run("long"), done(0))
    buffer.take()
    buffer.written()
    buffer.add(a_run("long"), done(1))
    buffer.add(a_run("short"), done(0))

    assert buffer.wait()
    assert set(buffer.take()) == {"long", "short"}


def test_a_worker_is_not_idle_before_all_is_written() -> None:
    buffer = buffer_of()
    buffer.add(a_run(), done(0))
    buffer.take()
    buffer.add(a_run("run-2"), done(0))
    buffer.written()
    assert buffer.busy
    buffer.take()
    assert buffer.busy
    buffer.written()
    assert not buffer.busy


def test_what_is_being_written_still_crowds() -> None:
    """A paused pool learns of room: it would wait for its next turn, and the disk for it."""
    said: list[str] = []
    buffer = CommitBuffer(1000, NEVER_S, on_room=lambda: said.append("room"))
    buffer.add(a_run(), [Done(0, b"x" * 1500)])
    buffer.take()
    assert (buffer.over_limit, said) == (False, [])
    buffer.add(a_run(), [Done(1, b"x" * 501)])
    assert (buffer.over_limit, said) == (True, [])
    buffer.written()
    assert (buffer.over_limit, said) == (False, ["room"])


@pytest.mark.parametrize(("being_written", "pending"), [(400, 50), (400, 2001)])
def test_nobody_is_told_of_room_that_was_there_or_is_not(being_written: int, pending: int) -> None:
    buffer = CommitBuffer(1000, NEVER_S, on_room=lambda: pytest.fail("there is no more room than before"))
    buffer.add(a_run(), [Done(0, b"x" * being_written)])
    buffer.take()
    buffer.add(a_run(), [Done(1, b"x" * pending)])
    buffer.written()


def test_what_comes_while_its_run_is_written_keeps_the_run() -> None:
    """What came a second time is committed, too, which finds that it is there already."""
    buffer = buffer_of()
    for name in ("run-1", "run-2"):
        buffer.add(a_run(name), done(0))
    buffer.take()
    buffer.add(a_run("run-2"), done(0))
    buffer.written()

    assert buffer.run("run-2").manifest.run == "run-2"
    with pytest.raises(KeyError):
        buffer.run("run-1")


def test_no_run_is_kept_that_another_worker_finishes() -> None:
    """A worker does not learn of the end of a run whose last commit is another's: it keeps none of its own accord."""
    buffer = buffer_of()
    for number in range(300):
        buffer.add(a_run(f"run-{number}"), done(0))
        buffer.take()
        buffer.written()

    for number in range(300):
        with pytest.raises(KeyError):
            buffer.run(f"run-{number}")
