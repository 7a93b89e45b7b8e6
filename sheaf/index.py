"""The index beside the output: a SQLite database that knows what is in the file. Its write lock is the fence.

One row per commit and one small row per batch, never one per item; failed items have a row each. Only this module
opens the database, begins and ends its transactions, and turns SQLite's errors into ours.

Two traps, both of SQLite: the database's file must never be opened and closed by other means in a process that has
it open here (closing any descriptor drops SQLite's locks), and it must be created group-writable by us, since SQLite
would create it without.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sheaf import disk_errors, schema
from sheaf.errors import FenceTimeout, IndexForeign, IndexMissing, OutputError, OutputUnwritable
from sheaf.intent import IntentNote

logger = logging.getLogger(__name__)

#: Seconds for which SQLite waits by itself, before we look whether our own time is over.
_BUSY_S = 0.25
#: Whoever has waited so long for the fence says in the log who has it, and says it again after as long.
_NOTICE_S = 5.0


class Index:
    """One connection, opened when first needed and opened anew when the file was replaced or a commit went wrong.

    Use it from one thread at a time; it may be created in another.
    """

    def __init__(self, output: Path, wait_s: float, *, durable: bool = True) -> None:
        self.output = output
        #: Whether a commit has to survive a power cut, and not only the death of whoever made it.
        self.durable = durable
        self.path = output.with_name(f"{output.name}.index")
        self.note = IntentNote(output.with_name(f"{output.name}.intent"))
        self._wait_s = wait_s
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        #: A COMMIT went wrong: what is in SQLite's log beyond the last known commit must not be trusted.
        self._suspect = False
        #: Counts connections, so that others notice a new one.
        self.generation = 0
        #: Seconds that begin() has waited for the fence, all told.
        self.waited_s = 0.0

    def create(self, header: bytes) -> None:
        """Create the index unless it is there. A crash in between leaves an empty file, which this takes up again."""
        if self._is_complete():
            return
        if self.output.exists():
            raise disk_errors.index_missing(self.output, self.path)
        with self._creating():
            if not self.path.exists():
                # Left by an index that was deleted while somebody had it open; they would be taken for this one's.
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(f"{self.path.name}{suffix}").unlink(missing_ok=True)
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            self._fill(header)

    @contextmanager
    def _creating(self) -> Iterator[None]:
        """One process at a time creates."""
        deadline = time.monotonic() + self._wait_s
        descriptor = os.open(self.note.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise FenceTimeout(self._busy_text()) from None
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
        connection = self._open()
        try:
            with self.translated():
                if self._patiently(connection, "PRAGMA journal_mode = WAL") != "wal":
                    raise disk_errors.unwritable(self.path, "its filesystem cannot share memory between processes")
                self._patiently(connection, "BEGIN IMMEDIATE")
                if not schema.has_tables(connection):
                    if self.output.exists():
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
        """Return the connection to the index that lies at our path now. Raises IndexMissing, IndexForeign."""
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            self.drop()
            raise disk_errors.index_missing(self.output, self.path) from error
        except OSError as error:
            raise disk_errors.unwritable(self.path, error) from error
        if self._connection is None or self._file != (status.st_dev, status.st_ino):
            self.drop()
            self._connection = self._open_checked()
            self._file = (status.st_dev, status.st_ino)
            self.generation += 1
        return self._connection

    def _open(self) -> sqlite3.Connection:
        with self.translated():
            connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=rw",
                uri=True,
                timeout=_BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'OFF'}")
        return connection

    def _open_checked(self) -> sqlite3.Connection:
        connection = self._open()
        try:
            with self.translated():
                self._check_ours(connection)
                if self._suspect:
                    self._rewrite_log(connection)
            if self.durable:
                self._sync_log()
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        application = self._patiently(connection, "PRAGMA application_id")
        version = self._patiently(connection, "PRAGMA user_version")
        if application == 0 and not schema.has_tables(connection):
            raise disk_errors.index_missing(self.output, self.path)
        if application != schema.APPLICATION_ID:
            raise IndexForeign(
                f"{self.path} is a database, but not an index of ours, so nothing is known about {self.output.name}; "
                "choose another output, or bring the right index back"
            )
        if version > schema.SCHEMA_VERSION:
            raise IndexForeign(
                f"{self.path} was written by a newer Sheaf (index version {version}, ours is {schema.SCHEMA_VERSION}); "
                "update this one"
            )

    def _rewrite_log(self, connection: sqlite3.Connection) -> None:
        """Move SQLite's log into the database and start a new one: a sync that failed once is never trusted again."""
        if self._patiently(connection, "PRAGMA wal_checkpoint(TRUNCATE)"):
            raise OutputUnwritable(
                f"a write to {self.path} failed and cannot be repaired while another process reads it; "
                "nothing was committed, this can be tried again"
            )
        self._suspect = False

    def _sync_log(self) -> None:
        """Make durable what we have just read: a killed writer's last commit may be in the page cache only."""
        try:
            descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_errors.unwritable(self.path, error) from error
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            self._suspect = True
            raise disk_errors.unwritable(self.path, error) from error
        finally:
            os.close(descriptor)

    def _patiently(
        self, connection: sqlite3.Connection, statement: str, waits: Callable[[], None] = lambda: None
    ) -> Any:
        """Execute a statement, for as long as we may wait; return the first column of its first row."""
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                row = connection.execute(statement).fetchone()
            except sqlite3.OperationalError as error:
                if disk_errors.code_of(error) not in disk_errors.BUSY_CODES or time.monotonic() >= deadline:
                    raise
                waits()
            else:
                return None if row is None else row[0]

    def begin(self) -> sqlite3.Connection:
        """Take the fence: from here to commit() or roll_back() no other process writes. Raises FenceTimeout."""
        connection = self.connect()
        started = noticed = time.monotonic()

        def notice() -> None:
            nonlocal noticed
            holder, now = self.note.holder(), time.monotonic()
            if holder is not None and now - noticed >= _NOTICE_S:
                noticed = now
                fields = {"action": "wait", "output": str(self.output), "waited_s": round(now - started)}
                logger.warning("waits for the output's fence", extra={**fields, "blocked_by": holder.describe()})

        try:
            with self.translated():
                self._patiently(connection, "BEGIN IMMEDIATE", notice)
        finally:
            self.waited_s += time.monotonic() - started
        if noticed > started:
            fields = {"action": "wait", "output": str(self.output), "waited_s": round(time.monotonic() - started, 1)}
            logger.warning("has the output's fence after a long wait", extra=fields)
        return connection

    @property
    def begun(self) -> bool:
        """Whether the fence is ours. An error of SQLite's may have ended the transaction by itself."""
        return self._connection is not None and self._connection.in_transaction

    def commit(self) -> None:
        """Commit and give the fence back. After an error it is unknown whether it happened; the next begin() shows."""
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

    def roll_back(self) -> None:
        """Undo everything since begin() and give the fence back."""
        if self.begun and self._connection is not None:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.drop()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """What is read inside is of one moment. Keep it short: while it lasts, SQLite's log can only grow."""
        connection = self.connect()
        with self.translated():
            self._patiently(connection, "BEGIN")
            try:
                # The moment is that of the first look; it may have to wait while another process repairs the log.
                self._patiently(connection, "SELECT id FROM state")
                yield connection
            finally:
                self.roll_back()

    def drop(self) -> None:
        """Close the connection, if there is one, undoing what was not committed; the next use opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.translate(error) from error

    def translate(self, error: sqlite3.Error) -> OutputError:
        return disk_errors.translate(error, self.path, self._busy_text())

    def _busy_text(self) -> str:
        return disk_errors.busy(self.path, self.note.holder(), self._wait_s)
