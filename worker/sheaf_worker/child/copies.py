"""Copies of a child that a task forks: each lives as long as the child and no longer, whichever thread has forked it.

The kernel's own signal (PR_SET_PDEATHSIG) is sent when the *thread* that forked ends, and to a copy of a copy when the
copy in between ends. So it serves only for forks of the child's main thread; other copies watch the child themselves.
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

# The originals, before any task patches them (gevent does).
_start_new_thread = _thread.start_new_thread
_poll = select.poll


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process with the thread that started it; end it now if `parent` is gone already."""
    signal_at_parents_death(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


class Lifeline:
    """Ties copies to the child. Created in its main thread."""

    def __init__(self) -> None:
        self._child = os.getpid()
        self._main_thread = threading.get_ident()
        self._is_copy = False
        try:
            self._descriptor = os.pidfd_open(self._child)
        except OSError:
            self._descriptor = -1  # a kernel or a sandbox without pidfds

    def hold(self) -> None:
        """To be called first in a copy: have it end when the child does."""
        by_main_thread = threading.get_ident() == self._main_thread and not self._is_copy
        self._is_copy = True
        if by_main_thread:
            end_with_parent(self._child)
            return
        # That thread takes no signals: they have to interrupt what the copy itself waits for.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            _start_new_thread(self._end_with_child, ())
        except RuntimeError:
            pass  # no thread can be started; the copy ends with the child's process group
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _end_with_child(self) -> None:
        descriptor = self._descriptor
        while True:
            waiter = _poll()
            with contextlib.suppress(OSError, ValueError):
                waiter.register(descriptor, select.POLLIN)
                # If the copy closes the descriptor, poll() still waits for what it referred to.
                if any(events & select.POLLIN for _, events in waiter.poll()):
                    break
            try:
                descriptor = open_process(self._child)
            except ProcessLookupError:
                break
            except OSError:
                return
        os.kill(os.getpid(), signal.SIGKILL)
