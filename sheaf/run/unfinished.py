"""Which runs still have something to do, at a cost that does not grow with how many there were.

A reader remembers the runs that are finished or cancelled, and checks the markers of the others only. A run that
is opened again changes `runs/.reopened`, and then all are asked; as they are from time to time in any case, since an
older Sheaf, or a person, takes a mark away without saying so.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from sheaf.core.errors import RunDamaged
from sheaf.run.run import REOPENED, is_cancelled, is_finished, list_runs

#: Seconds between two looks at all runs, at least, and as a multiple of what the last one took.
ALL_S, ALL_FACTOR = 30.0, 1000.0
#: Two changes of a folder within this many nanoseconds may have the same time.
_RESOLUTION_NS = 2_000_000_000
_NEVER = (-1, -1)


class Unfinished:
    """For one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        #: Runs that have to be asked for their marks, and those that need not be.
        self._names: list[str] = []
        self._over: set[str] = set()
        #: What the folder of runs and the file that tells of reopened runs looked like at the last look.
        self._listed = self._reopened = _NEVER
        self._due = 0.0

    def names(self) -> list[str]:
        """The runs that are neither finished nor cancelled, as far as is known, and those whose state is unknown."""
        began = time.monotonic()
        folder = self._data_dir / "runs"
        listed, reopened = _stamp(folder), _stamp(folder / REOPENED)
        everything = began >= self._due or reopened != self._reopened
        if everything:
            self._over.clear()
        if everything or listed != self._listed:
            self._names = [name for name in list_runs(self._data_dir) if name not in self._over]
        self._names = [name for name in self._names if not self._is_over(name)]
        # A change within the clock's resolution of this look would not be seen by the next one.
        self._listed = listed if time.time_ns() - listed[0] > _RESOLUTION_NS else _NEVER
        self._reopened = reopened
        if everything:
            now = time.monotonic()
            self._due = now + max(ALL_S, ALL_FACTOR * (now - began))
        return list(self._names)

    def _is_over(self, name: str) -> bool:
        with contextlib.suppress(RunDamaged):
            if is_finished(self._data_dir, name) or is_cancelled(self._data_dir, name):
                self._over.add(name)
                return True
        return False


def _stamp(path: Path) -> tuple[int, int]:
    """When it was last changed, and what tells it from another of its name."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
