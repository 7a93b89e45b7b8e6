"""The way to an index's connection: one process at a time opens it, and learns whether anybody had it open all along.

Whoever opens an index that nobody has open makes SQLite read its log anew, and so believes whatever whole transaction
stands in it: perhaps one whose sync has failed, which the page cache shows and the disk has not. It has to know that it
is alone (docs/power-loss.md). The locks lie on the note beside the output; the kernel gives them back when their holder
dies. They are of the open file, so two objects in one process see each other; a forked child gives its copy back.
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
#: Bytes of the note that are locked, far behind its end: two for each inode that an index may have.
_INODE_MASK = (1 << 61) - 1
#: The byte of SQLite's shared memory that each connection to the index holds a read lock on (its "dead man switch").
_SQLITE_ALIVE = 128
_POLL_S = 0.005


class Presence:
    """A process's word that it has an index open; as long as one stands, the log is known to be what it says."""

    _descriptor = -1

    def __init__(self, note: Path, inode: int) -> None:
        self._descriptor = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._at = 2 * (inode & _INODE_MASK)
        _all.add(self)

    def enter(self, deadline: float, waits: Callable[[], None] = lambda: None) -> bool:
        """Wait until nobody else is in the door, calling `waits` again and again; return whether that was in time."""
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
    """A forked child has its parent's locks as well, and would hold them when that one is dead."""
    for presence in list(_all):
        with suppress(OSError):
            presence.leave()


os.register_at_fork(after_in_child=_leave_all)


@contextmanager
def nobody_else(index: Path) -> Iterator[bool]:
    """Keep SQLite from being opened on the index by whoever does not come through the door: an older Sheaf, a person.

    Yields whether none of those has it open. Only for a process that has no connection to it: closing the file gives
    SQLite's own locks back.
    """
    try:
        descriptor = os.open(f"{index}-shm", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True  # it is there for as long as anybody has the index open
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
