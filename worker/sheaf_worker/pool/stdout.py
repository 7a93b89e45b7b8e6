"""What a child's task prints: it goes to the worker's log, up to a limit per minute."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from multiprocessing.connection import Connection

from sheaf.core import logs

logger = logging.getLogger(__name__)

#: Bytes that one child may print in one period; the rest is dropped, and its size is logged.
LIMIT_BYTES = 1 << 20
PERIOD_S = 60.0
#: The size of the pipe's buffer and of one read, in bytes.
_PIPE_BYTES = 1 << 18


class ChildStdout:
    """The worker's end of a pipe that is its child's stdout and stderr.

    Never blocks and never raises because of `target`: printed text is not worth a worker. What cannot be written (the
    disk with the log is full, the reader of the log is gone or stopped) is dropped and counted.
    """

    def __init__(self, connection: Connection, pid: int, target: logs.Sink) -> None:
        self._connection = connection
        self._pid = pid
        self._target = target
        self.descriptor = connection.fileno()
        os.set_blocking(self.descriptor, False)
        with contextlib.suppress(OSError):
            # A user's limit may forbid it; the default of 64 KiB is only slower.
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._began = time.monotonic()
        self._passed = self._dropped = self._unwritten = 0

    def pass_on(self) -> bool:
        """Read once and pass on what the limit allows; False at the pipe's end."""
        try:
            text = os.read(self.descriptor, _PIPE_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if time.monotonic() - self._began > PERIOD_S:
            self._begin_period()
        kept = text[: LIMIT_BYTES - self._passed]
        self._passed += len(kept)
        self._drop(len(text) - len(kept))
        self._unwritten += len(kept) - self._target.put(kept)
        return bool(text)

    def close(self) -> None:
        """Pass on what a dead child has left in the pipe; processes of its that still write are cut off."""
        self.pass_on()
        self._log_dropped()
        self._connection.close()

    def _drop(self, count: int) -> None:
        if count and not self._dropped:
            logger.warning(
                "a task prints too much; its output is dropped for the rest of the minute",
                extra={"action": "print", "pid": self._pid, "limit_bytes": LIMIT_BYTES},
            )
        self._dropped += count

    def _begin_period(self) -> None:
        self._log_dropped()
        self._began = time.monotonic()
        self._passed = self._dropped = self._unwritten = 0

    def _log_dropped(self) -> None:
        if self._dropped:
            logger.warning(
                "printed text was dropped", extra={"action": "print", "pid": self._pid, "bytes": self._dropped}
            )
        if self._unwritten:
            logger.warning(
                "printed text could not be written",
                extra={"action": "print", "pid": self._pid, "bytes": self._unwritten},
            )
