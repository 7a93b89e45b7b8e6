"""Descriptors of processes."""

from __future__ import annotations

import errno
import os


def open_process(pid: int) -> int:
    """Return a descriptor of a process, readable once that has ended.

    Raises ProcessLookupError if there is none, also where its pid is that of another process's thread by now; OSError
    if the system refuses a descriptor.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # What Linux says of a thread: EINVAL, newer kernels ENOENT (seen with 6.18).
        if error.errno in (errno.ENOENT, errno.EINVAL):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
        raise
