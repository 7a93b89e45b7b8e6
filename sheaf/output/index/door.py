"""Opening an index's connection: one process at a time does, and learns whether another had it open all along.

A process that opens an index which no other has open makes SQLite read its log anew, and so trusts every whole
transaction in it: perhaps one whose sync has failed, which the page cache shows and the disk does not have. It has to
know that it is alone (docs/power-loss.md). The locks are on the note beside the output; the kernel releases them when
their process dies. They belong to the open file, so two objects in one process see each other; a forked child closes
its copy.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: `struct flock` of a 64-bit Linux: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"
#: Bytes of the note that are locked, far after its end: two for each inode that an index may have.
_INODE_MASK = (1 << 61) - 1
#: The byte of SQLite's shared memory that each connection to the index holds a read lock on (its "dead man switch").
_SQLITE_ALIVE = 128
_POLL_S = 0.005


class Presence:
    """Says that a process has an index open; as long as there is one, the log is known to be on the disk."""

    _descriptor = -1

    def __init__(self, note: Path, inode: int) -> None:
        self._descriptor = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._at = 2 * (inode & _INODE_MASK)
        _all.add(self)

    def enter(self, deadline: float, waits: Callable[[], None] = lambda: None) -> bool:
        """Wait until no other process is in the door, calling `waits` repeatedly; return False if it is too late."""
        while not _lock(self._descriptor, fcntl.F_WRLCK, self._at + 1):
            if time.monotonic() >= deadline:
                return False
            waits()
            time.sleep(_POLL_S)
        return True

    def alone(self) -> bool:
        """Whether no other connection to the index is known. Ask inside the door only."""
        return _lock(self._descriptor, fcntl.F_WRLCK, self._at)

    def stay(self) -> None:
        """Leave the door with the index open."""
        _lock(self._descriptor, fcntl.F_RDLCK, self._at)
        _lock(self._descriptor, fcntl.F_UNLCK, self._at + 1)

    def leave(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = leave


#: The presences of this process.
_all: weakref.WeakSet[Presence] = weakref.WeakSet()


def _leave_all() -> None:
    """A forked child has its parent's locks as well, and would keep them after the parent's death."""
    for presence in list(_all):
        with suppress(OSError):
            presence.leave()


os.register_at_fork(after_in_child=_leave_all)


@contextmanager
def no_other(index: Path) -> Iterator[bool]:
    """Keep out those that open the index without the door: an older Sheaf, a person.

    Yields whether none of those has it open. Only for a process that has no connection to it: closing the file releases
    SQLite's own locks.
    """
    try:
        descriptor = os.open(f"{index}-shm", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True  # it exists as long as any process has the index open
        return
    try:
        yield _lock(descriptor, fcntl.F_WRLCK, _SQLITE_ALIVE)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, at: int) -> bool:
    """Lock one byte of an open file, or unlock it; False if another open file has it locked."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, at, 1, 0))
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True
