"""What ends a copy of a child that a task has forked: the child's own end, whichever thread has forked it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from sheaf_worker.child import copies
from sheaf_worker.child.copies import Lifeline, end_with_parent

#: A child whose copy says that it is there, and then waits for ever. The copy is forked as HOW says.
CHILD = """
import os, sys, threading, time
from sheaf_worker.child.copies import Lifeline

lifeline = Lifeline()
if sys.argv[1] == "without a pidfd":
    lifeline._descriptor = -1

def fork():
    if os.fork() == 0:
        lifeline.hold()
        if sys.argv[1] == "by a copy" and os.fork() == 0:
            lifeline.hold()
        if sys.argv[1] == "by a thread that closes all":
            os.closerange(3, 64)
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(1000)

if sys.argv[1] == "by the main thread":
    fork()
else:
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
sys.stdin.read()
"""


def wait_for_end(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 60)[0])


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ("by the main thread", 1),
        ("by a thread", 1),
        ("by a thread that closes all", 1),
        ("by a copy", 2),
        ("without a pidfd", 1),
    ],
)
def test_a_copy_lives_as_long_as_its_child_and_no_longer(how: str, count: int) -> None:
    """Also where the kernel's signal would come too early (a thread that ends) or not at all (a copy's copy)."""
    command = [sys.executable, "-c", CHILD, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        descriptors = [os.pidfd_open(int(child.stdout.readline())) for _ in range(count)]
        assert not select.select(descriptors, [], [], 0.3)[0], "the thread that forked it has ended, and it lives"
        child.kill()

    assert all(map(wait_for_end, descriptors))
    for descriptor in descriptors:
        os.close(descriptor)


class Ended(BaseException):
    """In place of the end of the process."""


def end(*_given: object) -> None:
    raise Ended


def test_who_comes_too_late_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent ended before the kernel was asked to tell of it."""
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(copies, "signal_at_parents_death", lambda number: None)

    end_with_parent(os.getppid())
    with pytest.raises(Ended):
        end_with_parent(1 if os.getppid() != 1 else 2)


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)


def test_a_copy_that_gets_no_thread_keeps_its_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """It then ends with the process group of the child; what it does itself must not be in the way of that."""

    def refuse(*_given: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(copies, "_start_new_thread", refuse)
    lifeline = Lifeline()
    masks: list[set[int]] = []

    def hold() -> None:
        lifeline.hold()
        masks.append(set(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))))

    in_thread(hold)

    assert masks == [set()]


def test_the_thread_of_a_copy_takes_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are for what the copy itself waits for."""
    masks: list[set[int]] = []

    def note(target: Callable[[], None], arguments: tuple[()]) -> None:
        masks.append(set(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))))

    monkeypatch.setattr(copies, "_start_new_thread", note)
    in_thread(Lifeline().hold)

    assert signal.SIGALRM in masks[0] and signal.SIGTERM in masks[0]


@pytest.mark.parametrize(
    ("error", "killed"), [(ProcessLookupError(), [signal.SIGKILL]), (OSError(24, "Too many open files"), [])]
)
def test_when_the_child_can_no_longer_be_watched(
    monkeypatch: pytest.MonkeyPatch, error: OSError, killed: list[int]
) -> None:
    """It is gone already: so is the copy. Or nothing can be opened: the copy then ends with the process group."""
    lifeline = Lifeline()
    os.close(lifeline._descriptor)
    sent: list[int] = []

    def refuse(pid: int) -> int:
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))

    lifeline._end_with_child()

    assert sent == killed


def test_where_there_are_no_pidfds_a_lifeline_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel, or a sandbox."""

    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    lifeline = Lifeline()

    began = time.monotonic()
    lifeline._end_with_child()
    assert time.monotonic() - began < 30
