"""One process that the supervisor keeps alive."""

from __future__ import annotations

import ctypes
import logging
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from sheaf.embedded.processes import ProcessId, end_marked, identify, send_signal

logger = logging.getLogger(__name__)

#: A process that lived for so many seconds is started again at once; one that dies sooner waits longer each time.
SETTLED_S = 10.0
LONGEST_PAUSE_S = 10.0
#: A log that has grown beyond this is set aside when its process is next started.
LOG_LIMIT_BYTES = 20 * 2**20

#: The variable that marks what belongs to one process that we have started.
MARK = "SHEAF_BORN_OF"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Child:
    """A command that should be running, from `start()` until `dismiss()`."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        #: Who runs now; None before the start and after the end.
        self.identity: ProcessId | None = None
        self._command = list(command)
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        #: Set once it should not be started again.
        self.dismissed = False
        #: Stands in the environment of the process, and of everything that it starts.
        self._mark = ""
        self._began = 0.0
        self._failures = 0
        self._next_start = 0.0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def start_in_s(self) -> float | None:
        """Seconds until the next start; None while it runs or is not wanted."""
        if self.running or self.dismissed:
            return None
        return max(0.0, self._next_start - time.monotonic())

    def start(self) -> None:
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT_BYTES:
            self._log.replace(self._log.with_name(f"{self._log.name}.1"))
        self._mark = secrets.token_hex(8)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment | {MARK: self._mark},
                # Ctrl-C in the terminal of `sheaf up --foreground` is for the supervisor, which ends us in order.
                process_group=0,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  the supervisor has one thread only
            )
        self._began = time.monotonic()
        self.identity = identify(self._process.pid)
        logger.info("process started", extra={"action": "start", "child": self.name, "pid": self._process.pid})

    def keep_running(self) -> bool:
        """Note the end of the process, or start it again when it is time; return whether anything changed."""
        ended = self.reap()
        if self._process is None and not self.dismissed and time.monotonic() >= self._next_start:
            self.start()
            return True
        return ended

    def reap(self) -> bool:
        """If the process has ended, note that and return True."""
        if self._process is None or self._process.poll() is None:
            return False
        status, pid = self._process.returncode, self._process.pid
        settled = time.monotonic() - self._began > SETTLED_S
        self._failures = 0 if settled else self._failures + 1
        pause_s = min(LONGEST_PAUSE_S, 0.25 * 2**self._failures) if self._failures else 0.0
        self._next_start = time.monotonic() + pause_s
        self._process = self.identity = None
        # Killed, it could not end what its tasks have started; a stack's container ends all of that with itself.
        left = end_marked(f"{MARK}={self._mark}")
        level = logging.INFO if self.dismissed else logging.WARNING
        fields = {"action": "end", "child": self.name, "pid": pid, "status": status, "left_behind": left}
        logger.log(level, "process ended", extra=fields)
        return True

    def dismiss(self) -> None:
        """Ask the process to end, and do not start it again."""
        if not self.dismissed and self.identity is not None:
            send_signal(self.identity, signal.SIGTERM)
        self.dismissed = True


def _end_with_parent() -> None:
    """A supervisor that is killed takes its processes with it: SIGTERM, so that they end in order."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
