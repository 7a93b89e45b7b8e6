"""Finished records and failures that wait to be committed, and when a group of them is due.

add() ─► pending ──16 MiB, or 1 s, or idle──► take() ─► being written ─► written()

While there is too much of it the pool is to pause, so that memory stays bounded.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable

from sheaf.run.items import Bundle, Result, Results, record_bytes
from sheaf.run.run import Run

#: Results by run.
Groups = dict[str, Results]

#: Seconds for which a program's record waits; its commit is not synced, so it costs little.
PROGRAM_S = 0.01
#: Seconds that the first record of a run waits, while others are at work: a short run should not wait for a long one.
NEWCOMER_S = 0.05
#: Seconds for which a run that was committed to is remembered.
_LATELY_S = 5.0
#: Jitter: a group is due at a random fraction of the limits, so that workers started together do not contend in step.
JITTER = (0.6, 1.0)
#: Groups that may be in memory at once: one that is collected, and one that is being written.
_GROUPS = 2


class CommitBuffer:
    """For any number of threads that add, and one that takes.

    `most_bytes`, `most_s`: limits of a group. `on_room` is called when the buffer is no longer over its limit.
    """

    def __init__(self, most_bytes: float, most_s: float, on_room: Callable[[], None]) -> None:
        self._most_bytes, self._most_s, self._on_room = most_bytes, most_s, on_room
        self._changed = threading.Condition()
        self._pending: dict[str, list[Result | Bundle]] = {}
        #: The runs of what is pending or being written, and the names of the latter.
        self._runs: dict[str, Run] = {}
        self._taken: tuple[str, ...] = ()
        #: Run -> when it was last committed to; for some seconds, and without those of programs.
        self._lately: dict[str, float] = {}
        self._oldest = 0.0
        #: Seconds for which pending results may wait for more.
        self._wait_s = most_s
        self._idle = False
        self._fraction = _draw_fraction()
        self._gathered = 0
        self._writing = 0
        self._closing = False

    @property
    def over_limit(self) -> bool:
        """Whether more bytes of records are pending or being written than memory should hold."""
        return self._gathered + self._writing > _GROUPS * self._most_bytes

    @property
    def busy(self) -> bool:
        """Whether anything is pending or being written."""
        with self._changed:
            return bool(self._pending) or self._writing > 0

    @property
    def uncommitted(self) -> set[str]:
        """Runs of which something is pending or being written."""
        with self._changed:
            return {*self._pending, *self._taken}

    @property
    def _full(self) -> bool:
        return self._gathered >= self._most_bytes * self._fraction

    def add(self, run: Run, results: Results) -> None:
        size = record_bytes(results)
        with self._changed:
            news = not self._pending
            if news:
                self._oldest, self._wait_s = time.monotonic(), self._most_s * self._fraction
            wait_s = self._longest_wait(run)
            if wait_s < self._wait_s:
                news, self._wait_s = True, wait_s
            self._runs[run.manifest.run] = run
            self._pending.setdefault(run.manifest.run, []).extend(results)
            self._gathered += size
            self._idle = False
            # Otherwise the committer is not woken: the time at which it wakes by itself is still right.
            if news or self._full:
                self._changed.notify()

    def _longest_wait(self, run: Run) -> float:
        """Seconds for which a record of the run may wait."""
        if run.manifest.session is not None:
            return PROGRAM_S
        return NEWCOMER_S if self._lately and run.manifest.run not in self._lately else self._most_s

    def flush(self) -> None:
        """Nothing else is in flight: pending results are due now."""
        with self._changed:
            self._idle = True
            self._changed.notify()

    def close(self) -> None:
        """Pending results are due now, and no more will be added."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def wait(self) -> bool:
        """Wait until a group is due (True), or everything was taken after close() (False)."""
        with self._changed:
            while True:
                if self._pending:
                    waited = time.monotonic() - self._oldest
                    if self._closing or self._idle or self._full or waited >= self._wait_s:
                        return True
                    self._changed.wait(self._wait_s - waited)
                elif self._closing:
                    return False
                else:
                    self._changed.wait()

    def take(self) -> Groups:
        """Take the pending results; they count as being written until written() is called."""
        with self._changed:
            groups: Groups = dict(self._pending)
            self._pending = {}
            self._taken = tuple(groups)
            self._writing, self._gathered = max(1, self._gathered), 0
            self._fraction = _draw_fraction()
            return groups

    def written(self) -> None:
        """The results that were taken are in the output, or were given up."""
        with self._changed:
            over_limit, self._writing = self.over_limit, 0
            room = over_limit and not self.over_limit
            taken, self._taken = self._taken, ()
            self._note_commit(taken)
        self.forget(taken)
        if room:
            self._on_room()

    def _note_commit(self, runs: Iterable[str]) -> None:
        now = time.monotonic()
        self._lately = {run: moment for run, moment in self._lately.items() if now - moment < _LATELY_S}
        self._lately.update((run, now) for run in runs if self._runs[run].manifest.session is None)

    def run(self, name: str) -> Run:
        """The run of results that were added, until they are written."""
        return self._runs[name]

    def forget(self, runs: Iterable[str]) -> None:
        """Results of these runs are no longer being written: forget the runs.

        Not only when they finish, as another worker may have made the last commit.
        """
        with self._changed:
            for run in runs:
                # Results added in the meantime still need it.
                if run not in self._pending:
                    self._runs.pop(run, None)


def _draw_fraction() -> float:
    return random.uniform(*JITTER)  # noqa: S311  nothing to guess here
