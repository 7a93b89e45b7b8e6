"""Our errors for those of the disk and of SQLite."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sheaf.core.errors import FenceTimeout, IndexForeign, IndexMissing, IndexSpoilt, OutputError, OutputUnwritable
from sheaf.core.files import exists
from sheaf.output.index.lock_owner import LockOwner

#: What the disk and SQLite raise; `Index.translate()` makes an error of ours of it.
ERRORS = (OSError, sqlite3.Error)
#: SQLite's codes for a database that another process has locked.
BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_DISK_CODES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOLFS,
)
#: A constraint that we never break is broken by what a damaged page makes us believe.
_FOREIGN_CODES = (
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
)


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if the error is not SQLite's but the sqlite3 module's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def translate(error: sqlite3.Error, index: Path, if_busy: str) -> OutputError:
    """Return our error for SQLite's, or raise it as it is; `if_busy` is the message for an index that stayed locked."""
    code = code_of(error)
    if code in BUSY_CODES:
        return FenceTimeout(if_busy)
    if code in _DISK_CODES:
        return unwritable(index, str(error))
    # A text from SQLite need not be valid; that error is the sqlite3 module's own.
    if code in _FOREIGN_CODES or (code == 0 and "decode" in str(error)):
        return index_damaged(index, str(error))
    raise error


def busy(index: Path, owner: LockOwner | None, waited_s: float) -> str:
    """The message for an index that stayed locked."""
    if owner is None:
        name, advice = "a process that did not leave its name", "if it is paused, let it continue or kill it"
    else:
        since = time.strftime("%H:%M:%S", time.gmtime(owner.since))
        name, advice = f"{owner.name} (since {since} UTC, {owner.held_s:.0f} s ago)", owner.advice
    return (
        f"{index} is locked by {name} for longer than the {waited_s:g} s that we wait; {advice}. "
        "Nothing was written, this can be tried again"
    )


def index_damaged(index: Path, why: str) -> IndexForeign:
    return IndexForeign(
        f"{index} cannot be read as an index ({why}); see what can be repaired: sheaf repair {index.stem}. Or bring it "
        "back from a copy together with its output, or move both away and submit the run again"
    )


@contextmanager
def making_sense(index: Path) -> Iterator[None]:
    """Raise IndexForeign for what was read from an index and is none of what is written to one.

    SQLite checks neither the values of a row nor their types: one flipped bit may make a list of numbers a text.
    """
    try:
        yield
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise index_damaged(index, f"{type(error).__name__}: {error}") from error


def unwritable(path: Path, why: OSError | str) -> OutputUnwritable:
    reason = (why.strerror or str(why)) if isinstance(why, OSError) else why
    return OutputUnwritable(
        f"{path} cannot be written: {reason}; nothing was committed. Give the disk room, or this user the right to "
        "write there (the index needs it even for reading); the same commit is then tried again"
    )


def is_read_only_without_reason(error: BaseException | None, index: Path) -> bool:
    """Whether SQLite says that an index is read-only although this user and its file system let us write to it.

    SQLite opens a file for reading only when opening it for writing fails, for whatever passing reason.
    """
    if not isinstance(error, sqlite3.Error) or code_of(error) != sqlite3.SQLITE_READONLY:
        return False
    files = [path for suffix in ("", "-wal", "-shm") if exists(path := index.with_name(f"{index.name}{suffix}"))]
    return all(os.access(path, os.W_OK, effective_ids=True) for path in files)


def index_spoilt(index: Path) -> IndexSpoilt:
    return IndexSpoilt(
        f"{index} cannot be written by this process, though it has the right: the system once refused it a file of the "
        "index, and SQLite has it open for reading only since then. Nothing was committed; start the program again"
    )


def index_missing(output: Path, index: Path) -> IndexMissing:
    if exists(output):
        return IndexMissing(
            f"{output} exists, but its index {index.name} does not, so nothing is known about what is in it and "
            "it is not touched; choose another output, or bring the index back (a .jsonl's: sheaf repair)"
        )
    return IndexMissing(f"there is no output {output}, and no index of it; submit the run again to create both")
