"""A broken part is a dead worker: ends the process, at once and with its reason, when a thread breaks or hangs.

    a thread raises ───────────────┐
    a thread ends unasked ─────────┼──► log ─► last words ─► batches handed back (3 s at most) ─► exit 1
    the main loop hangs ───────────┘

`sheaf up` or compose, which started the worker, starts a fresh one; other workers do what this one had in hand.
Waiting is not hanging: the committer may wait for a disk or for another process's fence as long as it takes, and
reports that as a problem (`docs/decisions/0023-a-broken-thread-is-a-dead-worker.md`).
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from sheaf.core.last_words import LastWords, cause_of

logger = logging.getLogger(__name__)

#: Seconds without an iteration of the main loop after which the worker counts as stuck, though its process lives.
STUCK_S = 30.0
#: Seconds without a heartbeat, or three intervals if those are longer. It waits for Redis, which may time out slowly.
SILENT_S = 90.0
#: Seconds between two checks. A gap longer than the second value means that the whole process was stopped.
LOOK_S, BLIND_S = 1.0, 5.0
#: Seconds that the hand-back of the batches may take, and the end as a whole, when even that hangs.
FAREWELL_S, END_S = 3.0, 10.0
#: Seconds for which native code may keep the interpreter's lock, so that no Python thread runs.
FROZEN_S = 300.0
#: Seconds beyond its grace period that a stopping worker may take.
LATE_S = 15.0
_STDERR = 2
MAIN = threading.main_thread().name


class Vitals(threading.Thread):
    """One thread. `farewell` hands back the worker's batches, on a best-effort basis.

    `last_iteration` and `last_beat` return when (monotonic) the main loop and the heartbeat last ran.
    """

    def __init__(
        self,
        worker: str,
        words: LastWords,
        farewell: Callable[[], None],
        last_iteration: Callable[[], float],
        last_beat: Callable[[], float],
        beat_s: float,
    ) -> None:
        super().__init__(name="vitals", daemon=True)
        self._silent_s = max(SILENT_S, 3 * beat_s)
        self._worker = worker
        self._words = words
        self._farewell = farewell
        self._last_iteration, self._last_beat = last_iteration, last_beat
        self._parts: Sequence[threading.Thread] = ()
        #: When the process has to have ended, once it was asked to stop.
        self._stop_by: float | None = None
        #: When this thread last checked, and since when the process has run without being stopped from outside.
        self._looked = self._awake = time.monotonic()
        self._ending = threading.Lock()
        #: The thread that broke.
        self._broken: str | None = None
        self._done = threading.Event()

    @property
    def well(self) -> bool:
        """Whether the main loop runs. If it hangs, no lease is renewed and no heartbeat sent."""
        return self._stop_by is not None or self._age(self._last_iteration()) < STUCK_S

    def guard(self, parts: Sequence[threading.Thread]) -> None:
        """Start these threads; from now on they live as long as the worker does."""
        self._words.reserve()
        for part in parts:
            part.start()
        self._parts = parts
        self._looked = self._awake = time.monotonic()
        self.start()

    def stopping(self, within_s: float) -> None:
        """The worker was asked to stop: its threads may end, and the process has to within this time."""
        self._stop_by = time.monotonic() + within_s + LATE_S

    @property
    def ending(self) -> bool:
        """Whether the process is being ended already."""
        return self._ending.locked()

    @property
    def broke_apart_from_items(self) -> bool:
        """Whether what broke cannot be due to an item, so that those in hand are not suspected."""
        return self._broken not in (None, MAIN, "committer")

    def close(self) -> None:
        """The worker has ended in order."""
        self._done.set()
        faulthandler.cancel_dump_traceback_later()
        self._words.release()

    def end(self, thread: str, error: BaseException) -> NoReturn:
        """End the process because of an exception that is in the log. For any thread; the first one's reason counts."""
        self._end(thread, cause_of(error))

    def run(self) -> None:
        while not self._done.wait(LOOK_S):
            faulthandler.dump_traceback_later(FROZEN_S, exit=True, file=_STDERR)
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        if now - self._looked > BLIND_S:
            self._awake = now  # stopped, frozen, suspended: not the fault of our threads
        self._looked = now
        if self._stop_by is not None:
            if now > self._stop_by:
                self._end_hung(MAIN, "it did not end in time after it was asked to stop")
            return
        if not self.well:
            self._end_hung(MAIN, f"the main loop has made no progress for {self._age(self._last_iteration()):.0f} s")
        if self._age(self._last_beat()) > self._silent_s:
            self._end_hung("heartbeat", f"no heartbeat was sent for {self._age(self._last_beat()):.0f} s")
        for part in self._parts:
            # It may end if the worker was asked to stop meanwhile, or is being ended.
            if not part.is_alive() and self._stop_by is None and not self.ending:
                self._end_hung(part.name, "the thread ended although it was not asked to")

    def _age(self, moment: float) -> float:
        return time.monotonic() - max(moment, self._awake)

    def _end_hung(self, thread: str, why: str) -> NoReturn:
        limit_end()
        stack = _stack_of(thread)
        place = f"; it is in {stack[-1].filename}:{stack[-1].lineno}, {stack[-1].name}" if stack else ""
        fields = {"action": "fail", "part": thread, "why": why + place, "stack": "".join(traceback.format_list(stack))}
        logger.critical("a part of the worker hangs; the process ends", extra=fields)
        self._end(thread, why + place)

    def _end(self, thread: str, why: str) -> NoReturn:
        if not self._ending.acquire(blocking=False):
            time.sleep(END_S)  # another thread is ending the process
            os._exit(1)
        try:
            limit_end()
            self._broken = thread
            self._words.say(self._worker, f"{why} (in the thread {thread!r})")
            helper = threading.Thread(target=self._say_farewell, name="farewell", daemon=True)
            helper.start()
            helper.join(FAREWELL_S)
        finally:
            os._exit(1)

    def _say_farewell(self) -> None:
        with contextlib.suppress(Exception):
            self._farewell()


def limit_end() -> None:
    """Have the kernel end the process soon, whatever hangs until then. SIGALRM has no handler here."""
    signal.setitimer(signal.ITIMER_REAL, END_S)


def _stack_of(thread: str) -> list[traceback.FrameSummary]:
    """The stack of a thread, found by its name; the innermost call last."""
    idents = {each.name: each.ident for each in threading.enumerate()}
    frame = sys._current_frames().get(idents.get(thread) or 0)
    return list(traceback.extract_stack(frame)) if frame is not None else []
