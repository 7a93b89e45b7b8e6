"""One write transaction on an output: the fence is ours, the file is the right one and ends where the index says.

It begins with BEGIN IMMEDIATE and ends with COMMIT or ROLLBACK. If the file is longer than the committed length, a
writer died in mid-append or a stranger wrote to it. Before such bytes are cut, the index is sealed: a small
transaction of its own is committed first. For a writer that was killed within COMMIT may have left a whole transaction
in SQLite's log that no reader sees, but that SQLite brings to life when it next recovers the log; the seal overwrites
it. Without the seal, cutting the file would turn such a ghost into an index that claims bytes which are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sheaf.core.errors import IndexForeign, OutputError
from sheaf.output.commit.data_file import OutputFile
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.rows import State
from sheaf.output.index.writer import IndexWriter

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class WriteTransaction:
    """What a writer works with while the fence is its own."""

    index: IndexWriter
    state: State
    file: OutputFile


class WriteTransactions:
    """Lets one writer at a time through, and leaves nothing half done."""

    def __init__(self, index: Index, steps: Callable[[str], None]) -> None:
        self._index = index
        #: Called between every two steps, with the name of the one just done; tests crash in it.
        self._steps = steps
        #: The index's connection on which the file was last synced.
        self._synced = 0

    @contextmanager
    def begin(self, who: str) -> Iterator[WriteTransaction]:
        """Take the fence for `who`; undo what was not committed when the block ends, or fails.

        Raises FenceTimeout, OutputUnwritable and the kinds of OutputRefused; nothing is committed then. Any other
        exception is taken for a crash: only the fence is given back, and the next transaction cleans up.
        """
        transaction: WriteTransaction | None = None
        try:
            transaction = self._enter(who)
            yield transaction
        except OutputError:
            self._undo(transaction)
            raise
        except disk_errors.ERRORS as error:
            self._undo(transaction)
            raise self._index.translate(error) from error
        except BaseException:
            self._index.drop()
            raise
        finally:
            if transaction is not None:
                transaction.file.close()
            self._index.roll_back()

    def _enter(self, who: str) -> WriteTransaction:
        sealed: tuple[State, bytes] | None = None
        while True:
            index = self._index.begin()
            self._index.note.write_owner(who)
            self._steps("begin")
            transaction = self._look(index)
            try:
                if transaction.file.size == transaction.state.length:
                    return transaction
                note = self._index.note.raw()[self._index.note.INTENT_AT :]
                if (transaction.state, note) == sealed:
                    self._remove_excess(transaction)
                    return transaction
                # A writer that comes in between changes the index or the note; then this begins anew.
                sealed = (self._seal(transaction), note)
            except BaseException:
                transaction.file.close()
                raise
            transaction.file.close()

    def _look(self, index: IndexWriter) -> WriteTransaction:
        """Open and check the file; the first time on a connection, sync it before anything it holds is trusted."""
        state = index.state()
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
        return WriteTransaction(index, state, file)

    def _seal(self, transaction: WriteTransaction) -> State:
        """Commit a transaction that changes nothing else, so that no ghost of another can come to life after it."""
        transaction.index.seal()
        state = transaction.index.state()
        self._index.commit()
        self._steps("seal")
        return state

    def _remove_excess(self, transaction: WriteTransaction) -> None:
        file = transaction.file
        size = file.size - transaction.state.length
        aside = file.remove_excess(self._index.note.read())
        if aside is None:
            logger.info("torn append was cut", extra={"action": "cut", "output": str(file.path), "bytes": size})
        else:
            logger.warning(
                "bytes of another program were moved aside",
                extra={"action": "move-aside", "output": str(file.path), "bytes": size, "to": str(aside)},
            )
        self._steps("cut")

    def _undo(self, transaction: WriteTransaction | None) -> None:
        """Cut what was appended, while the fence is still ours. Otherwise, or if that fails, the next commit does."""
        if transaction is not None and self._index.begun:
            try:
                transaction.file.undo()
            except OSError as error:
                logger.warning(
                    "could not cut the torn append; the next commit does", extra={"action": "cut", "why": str(error)}
                )
