"""Opening an index so that nothing is seen which the disk may not have; SQLite's errors become ours."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sheaf.core.errors import FenceTimeout, IndexForeign, OutputError
from sheaf.output.index import errors as disk_errors
from sheaf.output.index import schema, wal
from sheaf.output.index.door import Presence, no_other
from sheaf.output.index.intent import IntentNote

logger = logging.getLogger(__name__)

#: Seconds after which a wait for another process is logged, and logged again.
NOTICE_S = 5.0
#: Seconds for which SQLite waits by itself, before our own deadline is checked.
_BUSY_S = 0.25
#: Seconds to wait at least for another process that opens the same index, however short the wait for the fence is.
_DOOR_S = 2.0


class Opener:
    """Opens connections to one output's index."""

    def __init__(self, output: Path, wait_s: float, *, durable: bool) -> None:
        self.output = output
        #: Whether a commit has to survive a power cut, and not only the death of its writer.
        self.durable = durable
        self.path = output.with_name(f"{output.name}.index")
        self.note = IntentNote(output.with_name(f"{output.name}.intent"))
        self.wait_s = wait_s

    def open(self, timeout_s: float = _BUSY_S) -> sqlite3.Connection:
        with self.translated():
            connection = sqlite3.connect(
                f"file:{quote(os.fsencode(self.path))}?mode=rw",
                uri=True,
                timeout=timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'OFF'}")
                for statement in wal.PRAGMAS:
                    connection.execute(statement)
            except BaseException:
                connection.close()
                raise
        return connection

    def open_checked(self, inode: int, *, suspect: bool) -> tuple[sqlite3.Connection, Presence | None]:
        """Open a connection that may be trusted; the presence is to be left when it is closed.

        `suspect`: a write to the log went wrong. Raises IndexMissing, IndexForeign, OutputUnwritable, FenceTimeout.
        """
        if not self.durable:
            return self._open_ours(), None
        try:
            presence = Presence(self.note.path, inode)
            try:
                return self._open_inside(presence, suspect=suspect), presence
            except BaseException:
                presence.leave()
                raise
        except OSError as error:
            raise disk_errors.unwritable(self.path, error) from error

    def _open_inside(self, presence: Presence, *, suspect: bool) -> sqlite3.Connection:
        with self.noticed("another process, which may have been stopped while opening the index") as notice:
            if not presence.enter(time.monotonic() + max(self.wait_s, _DOOR_S), notice):
                raise FenceTimeout(self.busy_text())
        alone = presence.alone()
        if alone:
            with no_other(self.path) as alone:
                if alone:
                    wal.put_anew(self.path)
        connection = self._open_ours()
        try:
            # The others that had it open are gone, perhaps before we came: then it was us who read the log.
            if suspect or (not alone and presence.alone()):
                self._write_log_anew(connection)
        except BaseException:
            connection.close()
            raise
        presence.stay()
        return connection

    def _open_ours(self) -> sqlite3.Connection:
        connection = self.open()
        try:
            with self.translated():
                self._check_ours(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _write_log_anew(self, connection: sqlite3.Connection) -> None:
        with self.translated(), self.noticed() as notice:
            self.wait_for(connection, "BEGIN IMMEDIATE", notice)
            try:
                wal.write_anew(self.path)
            finally:
                connection.execute("ROLLBACK")

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        application = self.wait_for(connection, "PRAGMA application_id")
        version = self.wait_for(connection, "PRAGMA user_version")
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

    @contextmanager
    def noticed(self, otherwise: str = "") -> Iterator[Callable[[], None]]:
        """Yield a function to be called repeatedly while this process waits for another one: every few seconds it logs
        which one has the fence, as the note says, or else `otherwise`. The end of such a wait is logged, too.
        """
        started = logged = time.monotonic()
        output = str(self.output)

        def notice() -> None:
            nonlocal logged
            now = time.monotonic()
            if now - logged < NOTICE_S:
                return
            owner = self.note.owner()
            blocked_by = owner.describe() if owner is not None else otherwise
            if blocked_by:
                logged = now
                fields = {"action": "wait", "output": output, "waited_s": round(now - started)}
                logger.warning("waiting for the output's fence", extra={**fields, "blocked_by": blocked_by})

        yield notice
        if logged > started:
            fields = {"action": "wait", "output": output, "waited_s": round(time.monotonic() - started, 1)}
            logger.warning("got the output's fence after a long wait", extra=fields)

    def wait_for(self, connection: sqlite3.Connection, statement: str, waits: Callable[[], None] = lambda: None) -> Any:
        """Execute a statement, again while another process has the index locked, for as long as we may wait; return the
        first column of its first row.
        """
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                row = connection.execute(statement).fetchone()
            except sqlite3.OperationalError as error:
                if disk_errors.code_of(error) not in disk_errors.BUSY_CODES or time.monotonic() >= deadline:
                    raise
                waits()
            else:
                return None if row is None else row[0]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.translate(error) from error
        except UnicodeDecodeError as error:
            # SQLite's message about a damaged schema quotes it.
            raise disk_errors.index_damaged(self.path, "a name in it is no text") from error

    def translate(self, error: sqlite3.Error) -> OutputError:
        return disk_errors.translate(error, self.path, self.busy_text())

    def busy_text(self) -> str:
        return disk_errors.busy(self.path, self.note.owner(), self.wait_s)
