"""SQLite's log, `<output>.index-wal`: written anew before it is trusted, and moved into the database under the fence.

Connections never checkpoint by themselves (decision 24): SQLite's WAL-reset bug needs one process that moves the log
while another begins it anew, and a fence that both respect keeps them apart, whatever SQLite's version is.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

from sheaf.output.index import errors as disk_errors
from sheaf.run.run import sync_folder

#: Bytes of the log at which it is moved into the database; 1000 pages, as SQLite's own default.
LONG = 4 << 20
_COPY_BYTES = 1 << 20
#: A connection's settings for the log. A log that is begun anew is cut, so that its size says how much is in it.
PRAGMAS = ("PRAGMA wal_autocheckpoint = 0", "PRAGMA journal_size_limit = 0")


def path_of(index: Path) -> Path:
    return index.with_name(f"{index.name}-wal")


def size(index: Path) -> int:
    try:
        return os.stat(f"{index}-wal").st_size  # noqa: PTH116  once a commit, and a path costs more than the look
    except FileNotFoundError:
        return 0


def write_anew(index: Path) -> None:
    """Write the log's visible content once more, in place, and sync it: then the disk has it, or an error is raised.

    A sync that failed once is not repaired by one that succeeds: the kernel reports its error only once, and takes the
    pages for written. Only new writes are tried again. No other process may write to the log meanwhile.
    """
    with suppress(FileNotFoundError), open(path_of(index), "r+b", buffering=0) as log:
        _copy(log.fileno(), log.fileno())


def put_anew(index: Path) -> None:
    """The same for a log that no process has open: as a new file, since the old one's metadata (its size and place on
    the disk) may have been lost with the sync, too.
    """
    log = path_of(index)
    draft = log.with_name(f"{log.name}-anew")
    with suppress(FileNotFoundError), open(log, "rb", buffering=0) as old:
        status = os.fstat(old.fileno())
        if status.st_size == 0:
            return
        with suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            with suppress(PermissionError):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            _copy(old.fileno(), descriptor)
            draft.rename(log)
        finally:
            os.close(descriptor)
            with suppress(FileNotFoundError):
                draft.unlink()
        sync_folder(log.parent)


def _copy(source: int, target: int) -> None:
    offset = 0
    while data := os.pread(source, _COPY_BYTES, offset):
        offset += os.pwrite(target, data, offset)
    if offset:
        os.fdatasync(target)


def move(connection: sqlite3.Connection, fence: sqlite3.Connection) -> None:
    """Move the log into the database, so that the next writer begins it anew; not while another process writes.

    `fence` is another connection of this process, that does not wait.
    """
    try:
        fence.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if disk_errors.code_of(error) in disk_errors.BUSY_CODES:
            return  # the writer that has the fence does it, when it has committed
        raise
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    finally:
        fence.execute("ROLLBACK")
