"""One process that the supervisor keeps alive."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sheaf.core.files import exists
from sheaf.core.parent_death import signal_at_parents_death
from sheaf.embedded.processes import ProcessId, end_marked, identify

logger = logging.getLogger(__name__)

#: A process that lived this many seconds is restarted at once; one that dies sooner waits longer each time.
SETTLED_S = 10.0
LONGEST_PAUSE_S = 10.0
#: A log that has grown beyond this is set aside when its process is next started.
LOG_LIMIT_BYTES = 20 * 2**20
#: Seconds for which a process may leave its health file alone, and how many more it gets to begin with that.
UNHEALTHY_S, START_S = 60.0, 60.0

#: The variable that marks what belongs to one process that we have started.
MARK = "SHEAF_BORN_OF"


@dataclass(frozen=True, slots=True)
class Command:
    """What a process is started with."""

    arguments: Sequence[str]
    environment: dict[str, str]
    log: Path
    folder: Path
    #: A file that it touches while it is well; None: that cannot be seen from outside.
    health_file: Path | None = None
    #: A descriptor of ours that it shall have as well, under the same number.
    descriptor: int | None = None


class Child:
    """A command that should be running, from `start()` until `dismiss()`."""

    def __init__(self, name: str, command: Command) -> None:
        self.name = name
        #: Who runs now; None before the start and after the end.
        self.identity: ProcessId | None = None
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        #: Set once it should not be started again.
        self.dismissed = False
        #: Why it does not run now, if it should; for people.
        self.trouble: str | None = None
        #: Its exit status when it last ended; negative: the signal that killed it.
        self.status = 0
        #: It was killed by us, and why was said.
        self.killed = False
        #: In the environment of the process and of everything that it starts.
        self._mark = ""
        self._began = 0.0
        self._failures = 0
        self._next_start = 0.0
        #: The health file's time, and since when (monotonic) it has been that.
        self._health: tuple[int, float] = (0, 0.0)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """0 while none runs."""
        return self._process.pid if self._process is not None else 0

    @property
    def start_in_s(self) -> float | None:
        """Seconds until the next start; None while it runs or is not wanted."""
        if self.running or self.dismissed:
            return None
        return max(0.0, self._next_start - time.monotonic())

    def start(self) -> None:
        """Start the process. Raises nothing: what prevents that is its trouble, and it is tried again later."""
        try:
            self._start()
        except (OSError, subprocess.SubprocessError) as error:
            # No descriptor, process or memory is to be had, say: that passes.
            self.trouble = f"{self.name} cannot be started: {error}"
            self._put_off()
            logger.error(
                "cannot start process; will retry", extra={"action": "start", "child": self.name, "why": str(error)}
            )
            return
        self.trouble = None
        self._began = time.monotonic()
        self.killed = False
        self._health = (self._touched(), self._began + START_S)
        self._note_identity()

    def _start(self) -> None:
        self._mark = secrets.token_hex(8)
        log = self._open_log()
        try:
            self._process = subprocess.Popen(
                self._command.arguments,
                stdin=subprocess.DEVNULL,
                # Better a log in the supervisor's than no worker.
                stdout=log,
                stderr=log,
                cwd=self._command.folder,
                env=self._command.environment | {MARK: self._mark},
                pass_fds=[] if self._command.descriptor is None else [self._command.descriptor],
                # Ctrl-C in the terminal of `sheaf up --foreground` is for the supervisor, which ends us in order.
                process_group=0,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  the supervisor has one thread only
            )
        finally:
            if log is not None:
                os.close(log)
        logger.info("process started", extra={"action": "start", "child": self.name, "pid": self._process.pid})

    def _open_log(self) -> int | None:
        path = self._command.log
        try:
            if exists(path) and path.stat().st_size > LOG_LIMIT_BYTES:
                path.replace(path.with_name(f"{path.name}.1"))
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o664)
        except OSError as error:
            logger.warning("cannot open log", extra={"action": "start", "child": self.name, "why": str(error)})
            return None

    def _note_identity(self) -> None:
        with contextlib.suppress(OSError):
            self.identity = identify(self._process.pid) if self._process is not None else None

    def keep_running(self) -> bool:
        """Note the end of the process, or start it again when it is time; return whether anything changed."""
        ended = self.reap()
        if self._process is None and not self.dismissed and time.monotonic() >= self._next_start:
            self.start()
            return True
        if self._process is not None and self.identity is None:
            self._note_identity()
            return True
        return ended

    def reap(self) -> bool:
        """If the process has ended, note that and return True."""
        if self._process is None or self._process.poll() is None:
            return False
        self.status, pid = self._process.returncode, self._process.pid
        if time.monotonic() - self._began > SETTLED_S:
            self._failures, self._next_start = 0, time.monotonic()
        else:
            self._put_off()
        self._process = self.identity = None
        # Killed, it could not end what its tasks have started; a stack's container ends all of that with itself.
        left = 0
        with contextlib.suppress(OSError):
            left = end_marked(f"{MARK}={self._mark}")
        level = logging.INFO if self.dismissed else logging.WARNING
        fields = {"action": "end", "child": self.name, "pid": pid, "status": self.status, "left_behind": left}
        logger.log(level, "process ended", extra=fields)
        if not self.dismissed:
            self.trouble = f"{self.name} ended with {status_text(self.status)}; see {self._command.log}"
        return True

    def start_soon(self) -> None:
        """What kept it from running is mended."""
        self._failures, self._next_start = 0, time.monotonic()

    def _put_off(self) -> None:
        self._failures += 1
        self._next_start = time.monotonic() + min(LONGEST_PAUSE_S, 0.25 * 2.0 ** min(self._failures, 10))

    def hung_s(self, now: float) -> float:
        """Seconds for which it has left its health file alone though it could have touched it; 0: not for too long."""
        path = self._command.health_file
        if path is None or not self.running:
            return 0.0
        touched = self._touched()
        if touched != self._health[0]:
            self._health = (touched, now)
        since_s = now - self._health[1]
        if since_s < UNHEALTHY_S:
            return 0.0
        try:
            os.utime(path)
        except OSError:
            return 0.0  # on a read-only file system, say, it could not touch it either
        return since_s

    def _touched(self) -> int:
        """The health file's time; only whether it changes is of interest, for clocks are set."""
        path = self._command.health_file
        if path is None:
            return 0
        with contextlib.suppress(OSError):
            if not exists(path):
                path.touch()
            return path.stat().st_mtime_ns
        return -1

    def forgive(self, now: float) -> None:
        """The supervisor was itself held up: the time until now does not count."""
        self._health = (self._health[0], max(now, self._health[1]))

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, if there is one. Needs nothing that could be used up."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self, within_s: float = 0.0) -> None:
        """Have it end and be started again: at once, or in order if that takes no longer than `within_s` seconds."""
        self.killed = True
        if within_s:
            self.signal(signal.SIGTERM)
            deadline = time.monotonic() + within_s
            while self.running and time.monotonic() < deadline:
                time.sleep(0.02)
        self.signal(signal.SIGKILL)

    def dismiss(self) -> None:
        """Ask the process to end, and do not start it again."""
        if not self.dismissed:
            self.signal(signal.SIGTERM)
        self.dismissed, self.trouble = True, None


def stop_children(children: Sequence[Child], within_s: float) -> None:
    """Dismiss children, kill those that have not ended after `within_s` seconds, and reap them all."""
    for child in children:
        child.dismiss()
    deadline = time.monotonic() + within_s
    while any(child.running for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in children:
        child.signal(signal.SIGKILL)
    deadline = time.monotonic() + 5.0
    while any(child.running for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in children:
        child.reap()


def status_text(status: int) -> str:
    """`status 1`, `signal 9 (SIGKILL)`."""
    if status >= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return f"signal {-status} ({signal.Signals(-status).name})"
    return f"signal {-status}"


def _end_with_parent() -> None:
    """A supervisor that is killed takes its processes with it: SIGTERM, so that they end in order."""
    signal_at_parents_death(signal.SIGTERM)
