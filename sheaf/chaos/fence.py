"""Who holds the fence right now, as the kernel says it: SQLite's write lock is a lock on one byte of a file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

#: SQLite's WAL_WRITE_LOCK (its documentation, "WAL-mode file format", 2.3.1): byte 120 of the shared-memory file.
_WRITE_LOCK = "120"


def fence_holder(output: Path, pids: Collection[int]) -> int | None:
    """Return which of these processes holds the write lock of the output's index; None if none of them does."""
    try:
        inode = str(output.with_name(f"{output.name}.index-shm").stat().st_ino)
    except FileNotFoundError:
        return None
    for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        # 1: POSIX  ADVISORY  WRITE 4711 08:01:123456 120 120      (a waiter's line has `->` after the number)
        is_write_lock = len(fields) == 8 and fields[3] == "WRITE" and fields[6] == _WRITE_LOCK
        if is_write_lock and fields[5].rpartition(":")[2] == inode and int(fields[4]) in pids:
            return int(fields[4])
    return None
