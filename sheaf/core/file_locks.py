"""Locks that other processes see (`flock`): each is held until its descriptor is closed or its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder; False if another process, or another descriptor, has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_file(path: Path, mode: int = 0o664) -> int | None:
    """Create the file if need be, lock it and return its descriptor; None if it is locked already. Raises OSError."""
    return _lock_or_close(os.open(path, os.O_RDWR | os.O_CREAT, mode))


def lock_folder(folder: Path) -> int | None:
    """Lock a folder and return its descriptor; None if it is locked, gone, no folder, or closed to this user."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    return _lock_or_close(descriptor)


@contextlib.contextmanager
def held(descriptor: int) -> Iterator[None]:
    """Wait for the lock on an open file, hold it in the context, and close the descriptor at its end."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock_or_close(descriptor: int) -> int | None:
    locked = False
    try:
        locked = try_lock(descriptor)
    finally:
        if not locked:
            os.close(descriptor)
    return descriptor if locked else None
