"""Descriptors: how many connections this process can have, and what to do when there is none left for one."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

#: More than this no child needs; who closes all there may be, as some programs do, should not take minutes.
_ENOUGH = 8192
#: Left for all else: name servers, certificates, what other code of this process opens.
_RESERVE = 24
#: A connection has a descriptor, a second one while it is opened, and its host's name is looked up by a third.
_PER_CONNECTION = 2
_LACKING = frozenset({errno.EMFILE, errno.ENFILE})


class LackOfFiles(OSError):
    """There was no descriptor for a connection: it can be opened later."""


@contextlib.contextmanager
def more_files() -> Iterator[None]:
    """Raise this process's limit of open files to what its administrator lets it have, as long as this lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def most_connections() -> int:
    """How many connections this process can have beside what it has open already; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = _ENOUGH if soft == resource.RLIM_INFINITY else soft - sum(1 for _ in Path("/proc/self/fd").iterdir())
    return max(1, (free - _RESERVE) // _PER_CONNECTION)


def is_lack_of_files(error: OSError) -> bool:
    """Whether a descriptor was refused because there are too many, in this process or on this machine."""
    return error.errno in _LACKING


def are_short() -> bool:
    """Whether there is hardly a descriptor left: what fails now may have failed for want of one."""
    try:
        taken = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)]
    except OSError as error:
        return is_lack_of_files(error)
    try:
        taken += [os.dup(taken[0]) for _ in range(_PER_CONNECTION)]
    except OSError as error:
        return is_lack_of_files(error)
    finally:
        for descriptor in taken:
            os.close(descriptor)
    return False
