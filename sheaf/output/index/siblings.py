"""One process's connections to the same index: a lock that SQLite failed to release is kept by all of them.

SQLite reports no error when it fails to unlock a file, and remembers such a lock until the process has closed its last
connection to that file. So a connection that waited in vain has all others closed: idle ones at once, those in use as
soon as they are idle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet


class Sibling(Protocol):
    """One connection to an index, as the others of its process see it."""

    @property
    def file(self) -> tuple[int, int] | None:
        """Device and inode of the index that the connection was last opened on."""

    def renew(self) -> None:
        """Close the connection, or have it closed before it is used again. Called from any thread."""


class Usage:
    """Whether a connection is in use: while it is not, any thread may close it, under the lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.in_use = False
        #: It has to be closed as soon as it is idle.
        self.outdated = False

    @contextmanager
    def using(self) -> Iterator[None]:
        with self.lock:
            before, self.in_use = self.in_use, True
        try:
            yield
        finally:
            self.in_use = before


_all: WeakSet[Sibling] = WeakSet()
_lock = threading.Lock()


def add(index: Sibling) -> None:
    with _lock:
        _all.add(index)


def renew_others(index: Sibling) -> None:
    """Have all other connections of this process to the same file closed."""
    with _lock:
        others = [other for other in _all if other is not index and other.file == index.file]
    for other in others:
        other.renew()
