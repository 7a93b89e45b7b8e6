"""Copies of a child that a task forks: each lives as long as the child, whoever has forked it, and no longer.

The kernel's own signal (PR_SET_PDEATHSIG) comes when the *thread* ends that has forked, and for the copy of a copy when
the one between ends. So only what the child's main thread forks is left to it; the others look for themselves.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import signal
import threading

from sheaf.core.parent_death import signal_at_parents_death
from sheaf.core.pidfd import open_process

# As they are before any task has come: one may patch them (gevent does).
_start_new_thread = _thread.start_new_thread
_poll = select.poll


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process with the thread that has started it. Ends it now if `parent` is gone already."""
    signal_at_parents_death(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


class Lifeline:
    """What ties copies to the child. Made in its main thread."""

    def __init__(self) -> None:
        self._child = os.getpid()
        self._main_thread = threading.get_ident()
        self._is_copy = False
        try:
            self._descriptor = os.pidfd_open(self._child)
        except OSError:
            self._descriptor = -1  # a kernel or a sandbox without it

    def hold(self) -> None:
        """In a copy, first of all: have it end when the child does."""
        by_main_thread = threading.get_ident() == self._main_thread and not self._is_copy
        self._is_copy = True
        if by_main_thread:
            end_with_parent(self._child)
            return
        # No signal is for that thread: a handler has to interrupt what the copy itself waits for.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            _start_new_thread(self._end_with_child, ())
        except RuntimeError:
            pass  # no thread is to be had here; it ends with the child's process group
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _end_with_child(self) -> None:
        descriptor = self._descriptor
        while True:
            waiter = _poll()
            with contextlib.suppress(OSError, ValueError):
                waiter.register(descriptor, select.POLLIN)
                # If the copy closes it, we still wait for what was open when we began.
                if any(events & select.POLLIN for _, events in waiter.poll()):
                    break
            try:
                descriptor = open_process(self._child)
            except ProcessLookupError:
                break
            except OSError:
                return
        os.kill(os.getpid(), signal.SIGKILL)
