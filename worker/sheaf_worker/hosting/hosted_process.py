"""A process of a program as its worker sees it: started ahead, given what it is to run, signalled, reaped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

from sheaf.core.settings import child_environment
from sheaf_worker.hosting.lines import Lines

#: The size of a pipe's buffer and of one read, in bytes.
PIPE_BYTES = 1 << 16
#: Of the worker's own settings, what a program's process does not get.
_WORKERS_OWN = ("CLUSTER_KEY_FILE", "HEALTH_FILE", "PRINTS_FD", "LABEL", "POOL_SIZE", "HOSTED")
_KILL = int(signal.SIGKILL)


class Stream:
    """What a process writes to its stdout (1) or stderr (2)."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.descriptor = descriptor
        self.lines = Lines()
        self.open = True
        #: Bytes that were read in the present second.
        self.read = 0

    def read_some(self) -> bytes | None:
        """Return what is there; nothing at the end, None if there is nothing now."""
        try:
            text = os.read(self.descriptor, PIPE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            text = b""
        self.read += len(text)
        return text

    def close(self) -> None:
        if self.open:
            self.open = False
            os.close(self.descriptor)


class HostedProcess:
    """Started with nothing to run. Only in the host's thread: the kernel ends it with the *thread* that forked it."""

    def __init__(self, data_dir: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = subprocess.Popen(
                # -P: nothing is imported from the folder that it happens to start in.
                [sys.executable, "-P", "-m", "sheaf_worker.hosting.main", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=[theirs.fileno()],
                env=child_environment(
                    # It changes to its program's folder.
                    {"SHEAF_DATA_DIR": str(data_dir.absolute()), **{f"SHEAF_{name}": None for name in _WORKERS_OWN}}
                ),
                cwd=data_dir,
                # Its own group: what it starts can be ended with it, and Ctrl-C reaches the worker only.
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = ours
        self.pid = self._process.pid
        self.streams = (Stream(1, _own(self._process.stdout)), Stream(2, _own(self._process.stderr)))
        #: Readable once it has ended; None on a kernel or in a sandbox without pidfds.
        self.sentinel = _sentinel(self.pid)

    def tell(self, message: bytes) -> None:
        """Have it run something. Raises OSError; one that has died meanwhile is noticed like any other end."""
        # A file in memory, for a message may be larger than any pipe, and the host does not wait for the reader.
        descriptor = os.memfd_create("start", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as target:
                target.write(message)
            os.lseek(descriptor, 0, os.SEEK_SET)
            with contextlib.suppress(BrokenPipeError, ConnectionError):
                socket.send_fds(self._channel, [b"!"], [descriptor])
        finally:
            os.close(descriptor)
            self._channel.close()

    def signal(self, number: int) -> None:
        """Send SIGTERM to the process itself, as `terminate()` does; SIGKILL to all that it has started too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == _KILL:
                os.killpg(self.pid, number)
            if self._process.returncode is None:
                os.kill(self.pid, number)

    @property
    def exit_code(self) -> int | None:
        """Its exit code once it has ended, as `multiprocessing` gives it: negative for the signal that ended it."""
        return self._process.poll()

    def reap(self) -> None:
        """After its end: kill what it has left running, so that its streams end too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None

    def close(self) -> None:
        self._channel.close()
        for stream in self.streams:
            stream.close()

    def discard(self) -> None:
        """End one that was given nothing to run."""
        self._channel.close()
        self.signal(_KILL)
        self._process.wait()
        self.reap()
        self.close()


def _own(pipe: IO[bytes] | None) -> int:
    """A descriptor of our own for a pipe of `Popen`'s, which does not block."""
    assert pipe is not None  # noqa: S101  asked for above
    with pipe:
        descriptor = os.dup(pipe.fileno())
    os.set_blocking(descriptor, False)
    return descriptor


def _sentinel(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
