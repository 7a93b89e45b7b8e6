"""Who is to blame when a child dies, and how to say so to a person."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass, field

#: What usually sends a process these signals.
_USUAL_CAUSE = {
    signal.SIGKILL: "out of memory (the kernel kills the largest process), or killed by hand",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code, or a file that shrank while it was mapped",
    signal.SIGABRT: "a library in native code gave up",
    signal.SIGFPE: "a division by zero in native code",
    signal.SIGILL: "native code that was built for another processor",
    signal.SIGXCPU: "its limit of processor time is used up",
    signal.SIGSYS: "a system call that this container forbids",
}


#: The exit status of a child that finds its end of the pipe broken.
PIPE_LOST = 113
PIPE_LOST_TEXT = "process was ended: the code it ran closed, or wrote to, the pipe to its worker"
UNRESPONSIVE_TEXT = "process was killed: it had not begun what it was given, and did not answer any more"
#: The exit status of a child that has as many files open as a process may have.
FILES_USED_UP = 114
#: The exit status of a child that the system refused what it needs to begin, and that has said what that was.
LACKING = 115
_OUR_STATUSES = {
    PIPE_LOST: PIPE_LOST_TEXT,
    FILES_USED_UP: "process was ended: all the files that it may have open were open; does the task close what it "
    "opens?",
    LACKING: "process was ended: the system refused it what it needs to begin",
}


def explain_exit(exit_code: int | None) -> str:
    """Say how a process ended. `exit_code` is negative for a signal, as `multiprocessing` has it."""
    if exit_code is None:
        return "process died"
    if exit_code in _OUR_STATUSES:
        return _OUR_STATUSES[exit_code]
    if exit_code >= 0:
        return f"process ended in mid-work with exit status {exit_code} (the code it ran, or a library, called exit)"
    try:
        number = signal.Signals(-exit_code)
    except ValueError:
        return f"process died, signal {-exit_code}"
    cause = _USUAL_CAUSE.get(number)
    return f"process died, signal {number.value} ({number.name})" + (f": {cause}" if cause else "")


@dataclass(slots=True)
class Attempts:
    """How often each item was tried that is known to be trouble. Empty while all goes well."""

    _counts: dict[tuple[str, int], int] = field(default_factory=dict)

    def blame(self, run: str, index: int) -> int:
        """Count one more try that the item has spoilt; return how many that makes."""
        count = self._counts.get((run, index), 0) + 1
        self._counts[run, index] = count
        return count

    def count(self, run: str, index: int) -> int:
        """How many tries the item has spoilt so far."""
        return self._counts.get((run, index), 0)

    def settle(self, run: str, index: int) -> None:
        """The item has its result: forget it."""
        self._counts.pop((run, index), None)

    def settle_all(self, run: str, indexes: Iterable[int]) -> None:
        if self._counts:
            for index in indexes:
                self.settle(run, index)

    def forget(self, run: str) -> None:
        """Forget all items of a run."""
        for key in [key for key in self._counts if key[0] == run]:
            del self._counts[key]


class Caution:
    """Runs whose processes have died without it being known of what: children get fewer of their items at once.

    Each such death divides the number again, until a child that dies had one item only, which is then the guilty one.
    It ends when as many items are done as the guilty one can be among.
    """

    #: A child gets this part of what the dead one had.
    PART = 8

    def __init__(self) -> None:
        #: Run -> items that a child may have at once, and how many are to be done until it may have more.
        self._limits: dict[str, tuple[int, int]] = {}

    def take(self, run: str, outstanding: int) -> None:
        """A child has died that had so many items of the run."""
        _, left = self._limits.get(run, (0, 0))
        self._limits[run] = (max(1, outstanding // self.PART), max(left, outstanding))

    def limit(self, run: str | None) -> int | None:
        """How many items of the run a child may have at once; None: as many as it likes."""
        if run is None or run not in self._limits:
            return None
        return self._limits[run][0]

    def settle(self, run: str, count: int) -> None:
        """So many items of the run have their results."""
        if run in self._limits:
            limit, left = self._limits.pop(run)
            if left > count:
                self._limits[run] = (limit, left - count)

    def forget(self, run: str) -> None:
        self._limits.pop(run, None)
