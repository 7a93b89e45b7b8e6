"""Closes what the garbage collector finds, in a thread: it comes by anywhere, also in the middle of a step in Redis."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable

from sheaf.core.errors import SheafError


class Closing:
    """What is to be closed, one after another."""

    def __init__(self) -> None:
        # Its `put` may be called by the garbage collector in the middle of another `put`.
        self._acts: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def start(self) -> None:
        """Before the first object that may have to be closed."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._acts = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run, args=(self._acts,), name="sheaf-closing", daemon=True)
            self._thread.start()

    def later(self, act: Callable[[], object]) -> None:
        self._acts.put(act)

    def close(self) -> None:
        """Close what is left to be closed."""
        if self._thread is not None and self._pid == os.getpid():
            self._acts.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join(5)

    @staticmethod
    def _run(acts: queue.SimpleQueue[Callable[[], object] | None]) -> None:
        while (act := acts.get()) is not None:
            # The end of the program closes it as well.
            with contextlib.suppress(SheafError):
                act()
