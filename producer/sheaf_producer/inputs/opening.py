"""An input is opened once, and read from its first byte to its last: a file, a pipe, a device, a descriptor of ours."""

from __future__ import annotations

import errno
import io
import os
import re
import select
import stat
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from sheaf.core.errors import InputError

#: Names of descriptors that this process was started with: the shell's `<(…)`, standard input.
_DESCRIPTOR = re.compile(r"/dev/fd/(?P<number>\d+)|/proc/self/fd/(?P<same>\d+)|/dev/stdin")
#: A socket cannot be opened by its name; what another user has opened for us may not be.
_NOT_BY_NAME = (errno.ENXIO, errno.EACCES, errno.EPERM)


class Stream(io.RawIOBase):
    """An open input. What was looked at by `begin` is read again; where a pipe has nothing yet, it is waited for."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._start = b""

    def begin(self, count: int) -> bytes:
        """Return the first bytes, as many as that unless there are fewer: a pipe may bring them one by one."""
        while missing := count - len(self._start):
            room = bytearray(missing)
            got = self._fill(memoryview(room))
            if got == 0:
                break
            self._start += room[:got]
        return self._start

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, target: Any, /) -> int:
        if not self._start:
            return self._fill(target)
        count = min(len(target), len(self._start))
        target[:count], self._start = self._start[:count], self._start[count:]
        return count

    def _fill(self, target: Any) -> int:
        while (count := self._raw.readinto(target)) is None:
            # Another process that shares the pipe has made it non-blocking. That is not the end of the list.
            poll = select.poll()
            poll.register(self._raw, select.POLLIN)
            poll.poll()
        return cast(int, count)


def open_input(name: str) -> AbstractContextManager[io.RawIOBase]:
    """Open an input; `-` is standard input. Raises OSError, and InputError if standard input is closed."""
    if name == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; pipe a list into it, or name a file")
        buffer = sys.stdin.buffer
        return nullcontext(cast(io.RawIOBase, getattr(buffer, "raw", buffer)))
    try:
        return open(name, "rb", buffering=0)
    except OSError as error:
        number = descriptor_of(name)
        if number is None or error.errno not in _NOT_BY_NAME:
            raise
        return open(os.dup(number), "rb", buffering=0)


def status_of(name: str) -> os.stat_result | None:
    """What the system says of an input; None of a standard input that is no file (in a notebook). Raises OSError."""
    if name != "-":
        return os.stat(name)  # noqa: PTH116  also of what is no path but a descriptor
    try:
        return os.fstat(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def is_regular(name: str) -> bool:
    """Whether it is a file with a size and a beginning that stays there; of all else a byte that is read is gone."""
    try:
        status = status_of(name)
    except OSError:
        return False  # reading it says what is wrong
    return name != "-" and status is not None and stat.S_ISREG(status.st_mode)


def descriptor_of(name: str) -> int | None:
    """The number of the descriptor that a name such as `/dev/fd/63` means; None: it means something else."""
    found = _DESCRIPTOR.fullmatch(name)
    return None if found is None else int(found["number"] or found["same"] or 0)
