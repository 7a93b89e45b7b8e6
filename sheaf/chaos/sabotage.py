"""The protocol, broken on purpose: each function takes one of its safeguards away, to see whether the kit notices.

Nothing of this is a switch in the product: `python -m sheaf.chaos.sabotaged_worker` replaces the code in its own
process before it starts a worker.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sheaf.core.errors import SheafError
from sheaf.output.commit import entry
from sheaf.output.commit.data_file import EDGE_BYTES, OutputFile
from sheaf.output.commit.transaction import WriteTransaction, WriteTransactions
from sheaf.output.index.database import Index
from sheaf.output.index.writer import IndexWriter

#: Seconds for which written bytes stay in the "page cache" of ack-before-sync. A kernel keeps them for up to 30.
WRITE_BACK_S = 0.05


def remove_fence() -> None:
    """Leave only the lock in Redis: the index is read and the bytes are appended outside of any transaction."""
    stamp_now, commit = entry.stamp_now, Index.commit

    def begin(self: Index) -> IndexWriter:
        return IndexWriter(self.connect())

    def begin_and_stamp(index: IndexWriter, worker: str, token: int) -> entry.Stamp:
        # The rows themselves still appear together: it is the fence that is gone, not the database.
        index._connection.execute("BEGIN IMMEDIATE")
        return stamp_now(index, worker, token)

    def commit_if_begun(self: Index) -> None:
        if self.begun:
            commit(self)

    _replace(Index, "begin", begin)
    _replace(Index, "commit", commit_if_begun)
    _replace(entry, "stamp_now", begin_and_stamp)


def remove_truncation() -> None:
    """Append where the file ends, whatever a dead writer has left there."""
    look = WriteTransactions._look

    def look_and_accept(self: WriteTransactions, index: IndexWriter) -> WriteTransaction:
        transaction = look(self, index)
        file = transaction.file
        if file.size > transaction.state.length:
            transaction.state = transaction.state._replace(length=file.size)
            file.length = file.size
            file._tail = file._read(max(0, file.size - EDGE_BYTES), min(file.size, EDGE_BYTES))
            file._head = file._tail if file.size <= EDGE_BYTES else b""
        return transaction

    _replace(WriteTransactions, "_look", look_and_accept)


def acknowledge_before_sync() -> None:
    """Commit the index first; the bytes reach the file a moment later, as from a page cache that was never synced.

    A kill alone cannot show what a power cut does, for the kernel's page cache survives it. Here the bytes wait in the
    worker's memory, so a kill loses what a power cut would lose.
    """
    append, commit = OutputFile.append, Index.commit
    cache = threading.local()

    def append_later(
        self: OutputFile, buffers: Sequence[bytes], step: Callable[[str], None], *, to_be_synced: bool
    ) -> None:
        cache.append = lambda: append(self, buffers, step, to_be_synced=to_be_synced)

    def commit_and_write_back(self: Index) -> None:
        commit(self)
        write = cache.__dict__.pop("append", None)
        if write is not None:
            time.sleep(WRITE_BACK_S)
            write()

    _replace(OutputFile, "append", append_later)
    _replace(Index, "commit", commit_and_write_back)


def let_the_dead_renew() -> None:
    """A worker whose thread broke lives on, renews its leases and shows itself as busy, as all workers once did."""
    vitals: Any = importlib.import_module("sheaf_worker.vitals").Vitals

    def end(self: object, thread: str, error: BaseException) -> None:
        pass

    _replace(vitals, "end", end)
    _replace(vitals, "run", lambda _: None)
    _replace(vitals, "well", True)
    # Nor does the kernel end it a little later.
    _replace(importlib.import_module("sheaf_worker.worker"), "limit_end", lambda: None)


def _replace(owner: object, name: str, substitute: object) -> None:
    if not hasattr(owner, name):
        raise SheafError(f"{owner} has no {name!r} any more, so there is nothing to sabotage; let sabotage.py follow")
    setattr(owner, name, substitute)


SABOTAGE: dict[str, Callable[[], None]] = {
    "fence": remove_fence,
    "truncate": remove_truncation,
    "ack-before-sync": acknowledge_before_sync,
    "zombie": let_the_dead_renew,
}
