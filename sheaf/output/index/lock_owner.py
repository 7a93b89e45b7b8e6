"""The process that has an output's fence: what it notes about itself, and what a person reads about it."""

from __future__ import annotations

import functools
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

#: Characters of an owner's and of a host's name that are kept.
NAME_LENGTH, _HOST_LENGTH = 200, 64
#: Seconds since 1970 that a calendar has a date for, and the kernel's largest pid.
_LATEST, _LARGEST_PID = 2**36, 2**22


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Who has the fence, or had it last."""

    who: str
    #: Seconds since 1970, for people; and of the monotonic clock, which all containers of a host share.
    since: float
    taken: float = 0.0
    pid: int = 0
    host: str = ""
    #: The pid namespace that the pid belongs to.
    space: str = ""

    @classmethod
    def myself(cls, who: str) -> Self:
        return cls(
            who[:NAME_LENGTH],
            time.time(),
            time.monotonic(),
            os.getpid(),
            socket.gethostname()[:_HOST_LENGTH],
            _pid_space(),
        )

    @property
    def makes_sense(self) -> bool:
        """Whether each field is what it should be: a disk may have changed what was written."""
        texts = all(isinstance(text, str) for text in (self.who, self.host, self.space))
        moments = all(type(moment) in (int, float) and 0 <= moment < _LATEST for moment in (self.since, self.taken))
        return texts and moments and type(self.pid) is int and 0 <= self.pid <= _LARGEST_PID

    @property
    def held_s(self) -> float:
        return max(0.0, time.monotonic() - self.taken)

    @property
    def name(self) -> str:
        """`worker-2-1f3a (pid 4711, host 5d2c)`."""
        return f"{self.who} (pid {self.pid}, host {self.host})" if self.pid else self.who

    @property
    def advice(self) -> str:
        """What to do if it blocks others."""
        state = self._state() if self.space == _pid_space() else None
        if state is None:
            return (
                f"if it is paused or stopped, let it continue or kill it (a container: docker unpause {self.host}, or "
                f"docker kill {self.host}); nothing is lost by that"
            )
        if state in ("T", "t"):
            return (
                f"it is stopped: kill it (kill -9 {self.pid}; nothing is lost) "
                f"or let it continue (kill -CONT {self.pid})"
            )
        if state == "D":
            return "it waits for the disk: look at that"
        return "it is running: its disk may be slow; killing it (kill -9) loses nothing"

    def _state(self) -> str | None:
        """The kernel's letter for its state; None if there is no such process."""
        try:
            return (
                Path(f"/proc/{self.pid}/stat")
                .read_text(encoding="utf-8", errors="replace")
                .rpartition(")")[2]
                .split()[0]
            )
        except (OSError, IndexError):
            return None

    def describe(self) -> str:
        return f"{self.name} has held the index's write transaction for {self.held_s:.0f} s; {self.advice}"


@functools.cache
def _pid_space() -> str:
    """The name of this pid namespace; "" where there is none."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  not a path
    except OSError:
        return ""
