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
#: The exit status of a child that has as many files open as a process may have.
FILES_USED_UP = 114
_FILES_USED_UP_TEXT = (
    "process was ended: all the files that it may have open were open; does the task close what it opens?"
)


def explain_exit(exit_code: int | None) -> str:
    """Say how a process ended. `exit_code` is negative for a signal, as `multiprocessing` has it."""
    if exit_code is None:
        return "process died"
    if exit_code == PIPE_LOST:
        return PIPE_LOST_TEXT
    if exit_code == FILES_USED_UP:
        return _FILES_USED_UP_TEXT
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
