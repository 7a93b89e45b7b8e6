"""One writer's turn at the output: the fence is ours, the file is the right one and ends where the index says.

A turn begins with BEGIN IMMEDIATE and ends with COMMIT or ROLLBACK. If the file is longer than the committed length, a
writer died in mid-append or a stranger wrote to it. Before such bytes are cut, the index is sealed: a small
transaction of its own is committed first. For a writer that was killed within COMMIT may have left a whole transaction
in SQLite's log that nobody sees, but that SQLite brings to life when it next repairs the log; the seal overwrites it.
Without the seal, cutting the file would turn such a ghost into an index that claims bytes which are gone.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sheaf.core.errors import IndexForeign, OutputError
from sheaf.output.commit.data_file import OutputFile
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.schema import State, read_state

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class WriteTransaction:
    """What a writer works with while the fence is its own."""

    connection: sqlite3.Connection
    state: State
    file: OutputFile


class WriteTransactions:
    """Lets one writer at a time through, and leaves nothing half done behind it."""

    def __init__(self, index: Index, steps: Callable[[str], None]) -> None:
        self._index = index
        #: Called between every two steps, with the name of the one just done; tests crash in it.
        self._steps = steps
        #: The index's connection on which the file was last synced.
        self._synced = 0

    @contextmanager
    def turn(self, who: str) -> Iterator[WriteTransaction]:
        """Take the fence for `who`; undo what was not committed when the block ends, or fails.

        Raises FenceTimeout, OutputUnwritable and the kinds of OutputRefused; nothing is committed then. Any other
        exception is taken for a crash: only the fence is given back, and the next turn finds what lies about.
        """
        turn: WriteTransaction | None = None
        try:
            turn = self._enter(who)
            yield turn
        except OutputError:
            self._undo(turn)
            raise
        except (OSError, sqlite3.Error) as error:
            self._undo(turn)
            raise self._translated(error) from error
        except BaseException:
            self._index.drop()
            raise
        finally:
            if turn is not None:
                turn.file.close()
            self._index.roll_back()

    def _enter(self, who: str) -> WriteTransaction:
        sealed: tuple[State, bytes] | None = None
        while True:
            connection = self._index.begin()
            self._index.note.write_holder(who)
            self._steps("begin")
            turn = self._look(connection)
            try:
                if turn.file.size == turn.state.length:
                    return turn
                note = self._index.note.raw()[self._index.note.INTENT_AT :]
                if (turn.state, note) == sealed:
                    self._clear_tail(turn)
                    return turn
                # Whoever comes in between changes the index or the note; then this begins anew.
                sealed = (self._seal(turn), note)
            except BaseException:
                turn.file.close()
                raise
            turn.file.close()

    def _look(self, connection: sqlite3.Connection) -> WriteTransaction:
        """Open and check the file; the first time on a connection, sync it before anything it holds is trusted."""
        state = read_state(connection)
        if state.output != self._index.output.name:
            raise IndexForeign(
                f"{self._index.path} is the index of {state.output}, not of {self._index.output.name}; give both files "
                "their old names back, or choose another output"
            )
        file = OutputFile.open(self._index.output, state)
        try:
            file.check(state)
            if self._index.durable and (self._synced != self._index.generation or file.identity != state.identity):
                file.sync()
                self._synced = self._index.generation
        except BaseException:
            file.close()
            raise
        self._steps("look")
        return WriteTransaction(connection, state, file)

    def _seal(self, turn: WriteTransaction) -> State:
        """Commit a transaction that changes nothing else, so that no ghost of another can come to life behind it."""
        turn.connection.execute("UPDATE state SET seals = seals + 1")
        state = read_state(turn.connection)
        self._index.commit()
        self._steps("seal")
        return state

    def _clear_tail(self, turn: WriteTransaction) -> None:
        size = turn.file.size - turn.state.length
        aside = turn.file.clear_tail(self._index.note.read())
        if aside is None:
            logger.info("torn append was cut", extra={"action": "cut", "output": str(turn.file.path), "bytes": size})
        else:
            logger.warning(
                "bytes of another program were moved aside",
                extra={"action": "move-aside", "output": str(turn.file.path), "bytes": size, "to": str(aside)},
            )
        self._steps("cut")

    def _undo(self, turn: WriteTransaction | None) -> None:
        """Cut what was appended, while the fence is still ours. Otherwise, or if that fails, the next turn does it."""
        if turn is not None and self._index.begun:
            try:
                turn.file.undo()
            except OSError as error:
                logger.warning("the next turn cuts the torn append", extra={"action": "cut", "why": str(error)})

    def _translated(self, error: OSError | sqlite3.Error) -> OutputError:
        if isinstance(error, sqlite3.Error):
            return self._index.translate(error)
        return disk_errors.unwritable(self._index.output, error)
