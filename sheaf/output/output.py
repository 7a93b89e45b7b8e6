"""Step 6 of 6: the shared file. A commit appends a group of records and notes it in the index; together, or not at all.

    take the fence (BEGIN IMMEDIATE) ─► is the file the right one, does it end at L? ─► drop what is settled
        ─► note the intent ─► append at L ─► fdatasync ─► rows, L ─► COMMIT, synced: only now are the items done

All processes of one host share one kernel, so the fence holds even against a worker whose lease in Redis ran out while
it was stopped. Bytes beyond L were never promised to anyone: a crash at any step leaves a state from which the next
commit proceeds. In this room: `commit/transaction.py` takes the fence and cleans up after dead writers,
`commit/plan.py` drops what is settled, `commit/data_file.py` appends, `commit/entry.py` writes the rows; `index/` has
the tables, `read/` the readers.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sheaf.core.errors import IndexForeign, OutputPathError
from sheaf.core.files import exists, is_dir
from sheaf.core.ranges import Range
from sheaf.output.commit import entry, reopen
from sheaf.output.commit.data_file import Buffer, FileGrew
from sheaf.output.commit.plan import RunCommit, RunResults, plan, prepare
from sheaf.output.commit.transaction import WriteTransaction, WriteTransactions
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.intent import START_BYTES, Intent
from sheaf.output.index.rows import Size
from sheaf.output.read.reader import OutputReader
from sheaf.output.read.records import RecordReader
from sheaf.run.items import Results
from sheaf.run.run import sync_folders

__all__ = ["Output", "Receipt"]


@dataclass(slots=True)
class Receipt:
    """What a commit did. All results given to it are settled by now, by this commit or before it."""

    #: Per run the items that this commit put into the output (as ranges), and those that it noted as failed.
    committed: dict[str, list[Range]] = field(default_factory=dict)
    failed: dict[str, list[int]] = field(default_factory=dict)
    #: Results that were dropped because their items were settled already.
    duplicates: int = 0
    #: L, the output's committed length.
    length: int = 0
    #: Runs of this commit of which nothing is left to do.
    finished_runs: list[str] = field(default_factory=list)


class Output:
    """One output and its index. Use an object from one thread at a time; any number of objects may be open.

    Nothing is opened before the first use, and an object may be used again after close().
    """

    def __init__(
        self,
        path: Path,
        *,
        fence_wait_s: float = 30.0,
        durable: bool = True,
        steps: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`durable` False: what is committed survives the death of every process, but not a power cut."""
        self.path = path
        self._steps = steps
        self._index = Index(path, fence_wait_s, durable=durable)
        self._transactions = WriteTransactions(self._index, steps)
        #: What its index knows: progress, failures, what is left.
        self.reader = OutputReader(self._index)
        self.records = RecordReader(self._index)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        header: bytes = b"",
        fence_wait_s: float = 30.0,
        durable: bool = True,
        steps: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Create the output with its index, or check the one that is there. Safe to do twice, or at once by several.

        The header is kept in the index; the first commit writes it. Raises OutputPathError if nothing can be created
        there, IndexMissing for a file that is not ours, and whatever commit() would raise.
        """
        _check_place(path)
        output = cls(path, fence_wait_s=fence_wait_s, durable=durable, steps=steps)
        try:
            # The index first: a file without an index is taken for a stranger's.
            output._index.create(header)
            steps("index")
            with output._transactions.begin(_caller()) as transaction:
                output._adopt(transaction)
            if durable:
                sync_folders(path.parent)
        except OSError as error:
            output.close()
            raise disk_errors.unwritable(path, error) from error
        except BaseException:
            output.close()
            raise
        return output

    def _adopt(self, transaction: WriteTransaction) -> None:
        """Remember the file that was just created, or that was brought back from a copy."""
        if transaction.file.identity != transaction.state.identity:
            transaction.index.set_identity(transaction.file.identity)
            self._index.commit()

    def register_run(self, run: str, items: int, batch_size: int) -> None:
        """Make a run known to the index, if it is not. Raises IndexForeign if it is known with other sizes."""
        size = Size(items, batch_size)
        with self._index.reading() as index:
            known = index.find_run(run)
        if known is None:
            with self._transactions.begin(_caller()) as transaction:
                transaction.index.add_run(run, size, time.time())
                self._index.commit()
        elif known.size != size:
            raise IndexForeign(
                f"{self._index.path} knows the run {run} with {known.items} items in batches of {known.batch_size}, "
                f"but it has {items} in batches of {batch_size}; does one of them come from another data folder?"
            )

    def commit(self, groups: Mapping[str, Results] | Sequence[RunResults], *, worker: str, token: int) -> Receipt:
        """Settle these results, by run: all of them, durably and together, or none. Items settled before are dropped.

        They may be prepared already (`commit.plan.prepare`), so that others wait no longer than they have to.
        Raises OutputUnwritable and FenceTimeout, after which the same call may be tried again, and the kinds of
        OutputRefused, after which a person has to look. Of several results for one item, the first wins.
        """
        gathered = prepare(groups) if isinstance(groups, Mapping) else groups
        while True:
            # Bytes that a stranger appended between our look at the file and our writing are moved aside next time.
            with suppress(FileGrew):
                return self._commit(gathered, worker, token)

    def _commit(self, gathered: Sequence[RunResults], worker: str, token: int) -> Receipt:
        """One try. Raises FileGrew too."""
        with self._transactions.begin(worker) as transaction:
            commits = [plan(transaction.index, group) for group in gathered]
            self._steps("plan")
            length = transaction.state.length
            if any(commit.settled for commit in commits):
                length = self._write(transaction, commits, worker, token)
                self._index.commit()
                self._steps("commit")
        return Receipt(
            committed={commit.run.run: commit.done.ranges for commit in commits},
            failed={commit.run.run: [result.index for result in commit.failed] for commit in commits},
            duplicates=sum(commit.duplicates for commit in commits),
            length=length,
            finished_runs=[commit.run.run for commit in commits if commit.finishes],
        )

    def _write(self, transaction: WriteTransaction, commits: list[RunCommit], worker: str, token: int) -> int:
        """Append the records, and write the rows that say so; all but the COMMIT. Returns the new L."""
        index, file, state = transaction.index, transaction.file, transaction.state
        offset = state.length
        header = state.header if offset == 0 else b""
        buffers: list[Buffer] = [buffer for commit in commits for buffer in commit.done.buffers]
        if header:
            buffers.insert(0, header)
        length = offset + len(header) + sum(commit.length for commit in commits)
        if buffers:
            start = b"".join(buffer[:START_BYTES] for buffer in buffers[:2])[:START_BYTES]
            self._index.note.write(Intent(offset, length - offset, start.hex(), worker, token))
            self._steps("note")
            file.append(buffers, self._steps, to_be_synced=self._index.durable)
        # Without records too: a torn append that was cut must not come back after a power cut, unnoticed.
        if self._index.durable:
            file.sync()
        self._steps("sync")
        stamp = entry.stamp_now(index, worker, token)
        if header:
            entry.write_header(index, header, stamp)
            offset += len(header)
        with disk_errors.making_sense(self._index.path):
            for commit in commits:
                if commit.settled:
                    entry.write(index, commit, offset, stamp)
                    offset += commit.length
        index.set_file(length, file.identity, file.edges_after(buffers, state), token)
        self._steps("entries")
        return length

    def remove_excess(self) -> None:
        """Leave no bytes beyond L. The next commit would do it too; this is for when there will be none."""
        with self._transactions.begin(_caller()):
            pass

    def reopen_failures(self, run: str, errors: Collection[str] = (), items: Collection[int] = ()) -> int:
        """Have failed items done again: those of these classes and numbers, or all; return how many. All or none."""
        with self._transactions.begin(_caller()) as transaction:
            with disk_errors.making_sense(self._index.path):
                reopened = reopen.reopen_failures(transaction.index, run, errors, items)
            self._steps("entries")
            self._index.commit()
            self._steps("commit")
        return reopened

    @property
    def waited_s(self) -> float:
        """Seconds for which this object has waited for the fence, in all."""
        return self._index.waited_s

    def close(self) -> None:
        self._index.drop()


def _check_place(path: Path) -> None:
    folder = path.parent
    if not is_dir(folder):
        raise OutputPathError(
            f"{folder} is not a folder, so {path.name} cannot be created in it; create the folder first"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputPathError(
            f"{folder} cannot be written to by this user (uid {os.getuid()}), and {path.name}, its index and their "
            "side files have to be created there; change the folder's rights or choose another output"
        )
    if exists(path) and not stat.S_ISREG(path.stat().st_mode):
        raise OutputPathError(f"{path} is not a regular file, so nothing can be appended to it; choose another output")


def _caller() -> str:
    """The name of a writer that is no worker, shown to those who wait for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"
