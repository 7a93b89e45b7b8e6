"""The index beside the output: a SQLite database that knows what is in the file. Its write lock is the fence.

One row per commit and one small row per batch, never one per item; failed items have a row each. Only this module
opens the database, begins and ends its transactions, and turns SQLite's errors into ours.

Two traps, both of SQLite: the database's file must never be opened and closed by other means in a process that has
it open here (closing any descriptor drops SQLite's locks), and we must create it group-writable, since SQLite would
create it without.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sheaf.core.errors import FenceTimeout, IndexMissing, OutputError
from sheaf.core.file_locks import try_lock
from sheaf.core.files import exists
from sheaf.output.index import errors as disk_errors
from sheaf.output.index import schema, siblings, wal
from sheaf.output.index.door import Presence
from sheaf.output.index.opener import Opener
from sheaf.output.index.reader import IndexReader
from sheaf.output.index.writer import IndexWriter

logger = logging.getLogger(__name__)

#: Consecutive connections that could only read although they may write, until it is the process that cannot.
_SPOILT = 3


class Index(Opener):
    """One connection, opened when first needed and opened anew when the file was replaced or a commit failed.

    Use it from one thread at a time; it may be created in another.
    """

    def __init__(self, output: Path, wait_s: float, *, durable: bool = True) -> None:
        super().__init__(output, wait_s, durable=durable)
        self._connection: sqlite3.Connection | None = None
        self._presence: Presence | None = None
        #: Device and inode of the index that the connection was last opened on.
        self.file: tuple[int, int] | None = None
        self._usage = siblings.Usage()
        #: A write to SQLite's log failed: the disk may not have what the page cache shows of it.
        self._suspect = False
        #: How many consecutive connections could only read, though they may write.
        self._spoilt = 0
        #: This connection is one of those.
        self._can_only_read = False
        #: Counts connections, so that others notice a new one.
        self.generation = 0
        #: Seconds that begin() has waited for the fence, in all.
        self.waited_s = 0.0
        siblings.add(self)

    def create(self, header: bytes) -> None:
        """Create the index unless it is there. A crash in between leaves an empty file, which this takes up again."""
        if self._is_complete():
            return
        if exists(self.output):
            raise disk_errors.index_missing(self.output, self.path)
        with self._creating():
            if not exists(self.path):
                # Left by an index that was deleted while in use; SQLite would take them for this one's.
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(f"{self.path.name}{suffix}").unlink(missing_ok=True)
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            self._fill(header)

    @contextmanager
    def _creating(self) -> Iterator[None]:
        """One process at a time creates."""
        deadline = time.monotonic() + self.wait_s
        descriptor = os.open(self.note.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            while not try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise FenceTimeout(self.busy_text())
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)

    def _is_complete(self) -> bool:
        try:
            self.connect()
        except IndexMissing:
            return False
        return True

    def _fill(self, header: bytes) -> None:
        connection = self.open()
        try:
            with self.translated():
                if self.wait_for(connection, "PRAGMA journal_mode = WAL") != "wal":
                    raise disk_errors.unwritable(self.path, "its filesystem cannot share memory between processes")
                self.wait_for(connection, "BEGIN IMMEDIATE")
                if not schema.has_tables(connection):
                    if exists(self.output):
                        raise disk_errors.index_missing(self.output, self.path)
                    for statement in schema.STATEMENTS:
                        connection.execute(statement)
                    connection.execute(
                        "INSERT INTO state (id, output, header, created) VALUES (1, ?, ?, ?)",
                        (self.output.name, header, time.time()),
                    )
                connection.execute("COMMIT")
        finally:
            connection.close()

    def connect(self) -> sqlite3.Connection:
        """Return the connection to the index that is at our path now. Raises IndexMissing, IndexForeign."""
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            self.drop()
            raise disk_errors.index_missing(self.output, self.path) from error
        except OSError as error:
            raise disk_errors.unwritable(self.path, error) from error
        if self._connection is None or self.file != (status.st_dev, status.st_ino):
            self.drop()
            self._connection, self._presence = self.open_checked(status.st_ino, suspect=self._suspect)
            self._suspect = False
            self.file = (status.st_dev, status.st_ino)
            self.generation += 1
        return self._connection

    def begin(self) -> IndexWriter:
        """Take the fence: from here to commit() or roll_back() no other process writes. Raises FenceTimeout."""
        with self._in_use():
            return IndexWriter(self._begin(self._connect_idle()))

    def _connect_idle(self) -> sqlite3.Connection:
        """As connect(), but not the connection of a transaction that could not even be rolled back."""
        if self.begun:
            self.drop()
        return self.connect()

    def _begin(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        started = time.monotonic()
        try:
            with self.translated(), self.noticed() as notice:
                self.wait_for(connection, "BEGIN IMMEDIATE", notice)
        finally:
            self.waited_s += time.monotonic() - started
        return connection

    def translate(self, error: OSError | sqlite3.Error) -> OutputError:
        """Return our error for one of the disk's or SQLite's.

        Connections of one process share what they know of SQLite's shared memory, for as long as one is open: if
        none that can be written to is to be had any more, that is IndexSpoilt.

        After a wait in vain this process closes all its connections: one of them may itself have the lock, if SQLite
        failed to release it.
        """
        if isinstance(error, OSError):
            return disk_errors.unwritable(self.output, error)
        found = super().translate(error)
        if isinstance(found, FenceTimeout):
            self.drop()
            siblings.renew_others(self)
        if disk_errors.is_read_only_without_reason(error, self.path):
            self._can_only_read = True
            self._spoilt += 1
            if self._spoilt >= _SPOILT:
                return disk_errors.index_spoilt(self.path)
        return found

    @property
    def begun(self) -> bool:
        """Whether the fence is ours. An error of SQLite's may have ended the transaction by itself."""
        return self._connection is not None and self._connection.in_transaction

    def commit(self) -> None:
        """Commit and release the fence. After an error it is unknown whether it happened; the next begin() shows."""
        with self._in_use():
            self._commit()

    def _commit(self) -> None:
        try:
            connection = self.connect()
            if not connection.in_transaction:
                raise IndexMissing(
                    f"{self.path} was replaced by another file during a commit, which was given up; "
                    "bring the index back from a copy together with its output"
                )
            with self.translated():
                connection.execute("COMMIT")
        except BaseException:
            self._suspect = True
            self.drop()
            raise
        self._spoilt = 0
        self._keep_log_short(connection)

    def _keep_log_short(self, connection: sqlite3.Connection) -> None:
        """Move SQLite's log into the database when it has grown long. The commit is made, even if this fails."""
        if wal.size(self.path) < wal.LONG:
            return
        try:
            with closing(self.open(timeout_s=0.0)) as fence:
                wal.move(connection, fence)
        except (OSError, sqlite3.Error, OutputError) as error:
            fields = {"action": "checkpoint", "output": str(self.output), "why": str(error)}
            logger.warning("the index's log could not be moved into it; the next commit tries again", extra=fields)
            self._suspect = True
            self.drop()

    def roll_back(self) -> None:
        """Undo everything since begin() and release the fence."""
        if self.begun and self._connection is not None:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.drop()
        if self._can_only_read:
            self.drop()

    @contextmanager
    def reading(self) -> Iterator[IndexReader]:
        """What is read inside is of one moment. Keep it short: while it lasts, SQLite's log can only grow."""
        with self._in_use(), self._reading(self._connect_idle()) as connection:
            yield IndexReader(connection)

    @contextmanager
    def _reading(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self.translated():
            self.wait_for(connection, "BEGIN")
            try:
                # The moment is that of the first read, which may have to wait while another process recovers the log.
                self.wait_for(connection, "SELECT id FROM state")
                with disk_errors.making_sense(self.path):
                    yield connection
            finally:
                self.roll_back()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """No other thread closes the connection inside."""
        with self._usage.using():
            yield
        if self._usage.outdated:
            self.renew()

    def renew(self) -> None:
        """Close the connection, now or as soon as it is idle. Called from any thread."""
        with self._usage.lock:
            self._usage.outdated = True
            if not (self._usage.in_use or self.begun):
                self.drop()

    def drop(self) -> None:
        """Close the connection, if there is one, undoing what was not committed; the next use opens a new one."""
        with self._usage.lock:
            connection, self._connection = self._connection, None
            presence, self._presence = self._presence, None
            self._can_only_read = self._usage.outdated = False
        if connection is not None:
            connection.close()
        if presence is not None:
            presence.leave()
