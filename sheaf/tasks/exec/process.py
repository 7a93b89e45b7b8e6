"""Run one command to its end: what it prints is kept up to a size, and no process of it outlives its time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from sheaf.core.parent_death import signal_at_parents_death
from sheaf.core.settings import child_environment
from sheaf.tasks.transient_errors import again_if_passing

#: Seconds for which output is awaited from processes that a command left running.
_LINGER_S = 0.2
#: What a command need not know of us.
_PRIVATE = ("SHEAF_REDIS_URL", "SHEAF_REDIS_USER", "SHEAF_REDIS_PASSWORD", "SHEAF_REDIS_PASSWORD_FILE")


class Finished(NamedTuple):
    """What became of a command. `status` is negative for the signal that ended it; `timed_out`: it was ours."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    #: Bytes that were printed and not kept.
    dropped: int
    timed_out: bool


def run_command(
    command: Sequence[str], folder: Path, given: bytes | None, timeout_s: float | None, limit_bytes: int
) -> Finished:
    """Run a command in a process group of its own; kill the whole group when its time is over.

    `given` is what it reads from standard input. Raises OSError if the program cannot be started.
    """
    process = again_if_passing(lambda: _start(command, folder, given))
    began = time.monotonic()
    with process:
        try:
            reader = _Reader(process, limit_bytes)
            timed_out = not reader.read(None if timeout_s is None else began + timeout_s)
        finally:
            if process.poll() is None:
                _kill_group(process)
    stdout, stderr = reader.kept
    seconds = time.monotonic() - began
    return Finished(process.returncode, bytes(stdout), bytes(stderr), seconds, reader.dropped, timed_out)


def _start(command: Sequence[str], folder: Path, given: bytes | None) -> subprocess.Popen[bytes]:
    with _input(given) as stdin:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=child_environment(dict.fromkeys(_PRIVATE)),
            process_group=0,
            # If this child is killed, its command must not go on beside the one that another child starts.
            preexec_fn=_end_with_parent,  # noqa: PLW1509  a pool's child has no other threads
        )


def _end_with_parent() -> None:
    signal_at_parents_death(signal.SIGKILL)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _input(given: bytes | None) -> IO[bytes]:
    """A file in memory, so that a command which reads nothing, or late, blocks nothing."""
    if given is None:
        return open(os.devnull, "rb")
    file = os.fdopen(os.memfd_create("sheaf-item", os.MFD_CLOEXEC), "w+b")
    file.write(given)
    file.seek(0)
    return file


class _Reader:
    """Reads what a command prints to both of its outputs, and drops what is too much."""

    def __init__(self, process: subprocess.Popen[bytes], limit_bytes: int) -> None:
        self._process = process
        self._limit_bytes = limit_bytes
        self.kept = (bytearray(), bytearray())
        self.dropped = 0

    def read(self, until: float | None) -> bool:
        """Read until the command has ended; False if it had not by then."""
        ended = os.pidfd_open(self._process.pid)
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(ended, selectors.EVENT_READ)
                for stream, kept in zip((self._process.stdout, self._process.stderr), self.kept, strict=True):
                    assert stream is not None  # noqa: S101  both are pipes
                    selector.register(stream, selectors.EVENT_READ, kept)
                while selector.get_map():
                    left = None if until is None else max(0.0, until - time.monotonic())
                    events = selector.select(left)
                    if not events:
                        # Either the time is over, or only what the command left running holds its outputs open.
                        return self._process.poll() is not None
                    for key, _ in events:
                        if key.fd == ended:
                            selector.unregister(ended)
                            until = min(time.monotonic() + _LINGER_S, until or float("inf"))
                        elif not self._take(key):
                            selector.unregister(key.fileobj)
                return True
            finally:
                os.close(ended)

    def _take(self, key: selectors.SelectorKey) -> bool:
        """Read what is there; False at the end."""
        data = os.read(key.fd, 1 << 16)
        room = self._limit_bytes - len(key.data)
        key.data.extend(data[:room])
        self.dropped += max(0, len(data) - room)
        return bool(data)
