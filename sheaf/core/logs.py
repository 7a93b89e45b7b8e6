"""Logs: one JSON line per event on stderr: a fixed sentence, an `action`, ids as fields. Set up in `__main__` only.

Nothing is worth ending a thread for here: what cannot be written (a full disk, a reader that has gone) is left out, and
a reader that has stopped reading blocks nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import time
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


STDERR = 2
#: Seconds that a line waits for a pipe that is full.
WRITE_WAIT_S = 1.0
#: A pipe that is said to have room has it for this much.
_ATOMIC_BYTES = select.PIPE_BUF


class Sink:
    """A descriptor that text is written to. Raises nothing, and waits only once for a reader that has stopped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._write_wait_s = WRITE_WAIT_S

    def put(self, text: bytes) -> int:
        """Write as much as there is room for; return how many bytes that were."""
        written = 0
        with contextlib.suppress(OSError):
            while written < len(text) and self._has_room():
                written += os.write(self._descriptor, text[written : written + _ATOMIC_BYTES])
        self._write_wait_s = WRITE_WAIT_S if written == len(text) else 0.0
        return written

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        # A reader that has gone counts as room, too: the write says what is wrong.
        return bool(poll.poll(self._write_wait_s * 1000))


def keep_standard_descriptors() -> None:
    """Put /dev/null where a standard descriptor is closed: else the next file that is opened is written to as one."""
    for descriptor in (0, 1, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: this one


class JsonLines(logging.Formatter):
    """Format a record as one JSON object; what was passed in `extra` becomes its fields."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        super().__init__()
        self._fixed = fixed

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **self._fixed,
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _Stderr(logging.Handler):
    """Writes whole lines, as long as they are read."""

    def __init__(self) -> None:
        super().__init__()
        self._sink = Sink(STDERR)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception as error:  # noqa: BLE001  a field whose text cannot be had
            line = f'{{"level": "error", "message": "a line of the log is lost: {type(error).__name__}"}}\n'.encode()
        self._sink.put(line)


def configure(level: str, **fixed: Any) -> None:
    """Send everything from `level` up to stderr; `fixed` fields (the worker's id, say) are in every line."""
    handler = _Stderr()
    handler.setFormatter(JsonLines(fixed))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
