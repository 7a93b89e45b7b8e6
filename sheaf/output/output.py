"""Step 6 of 6: the shared file. A commit appends a group of records and notes it in the index; together, or not at all.

    take the fence (BEGIN IMMEDIATE) ─► is the file the right one, does it end at L? ─► drop what is settled
        ─► note the intent ─► append at L ─► fdatasync ─► rows, L ─► COMMIT, synced: only now are the items done

All processes of one host share one kernel, so the fence holds even against a holder whose lease in Redis ran out while
it was stopped. What lies beyond L was never promised to anybody: a crash at any step leaves a state from which the next
commit proceeds. In this room: `commit/transaction.py` has the fence and what a dead writer leaves, `commit/plan.py` and
`commit/rows.py` what is settled, `commit/data_file.py` the file, `read/queries.py` the readers.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sheaf.core.errors import IndexForeign, OutputPathError
from sheaf.core.files import exists, is_dir
from sheaf.core.ranges import Range
from sheaf.output.commit import reopen
from sheaf.output.commit import rows as entries
from sheaf.output.commit.data_file import TailGrew
from sheaf.output.commit.plan import Buffer, RunCommit, RunResults, plan, prepare
from sheaf.output.commit.transaction import WriteTransaction, WriteTransactions
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.intent import START_BYTES, Intent
from sheaf.output.index.schema import read_state
from sheaf.output.read import queries
from sheaf.output.read.queries import Failure, Progress, WorkerShare
from sheaf.run.items import Batch, Results
from sheaf.run.run import sync_folders

__all__ = ["Failure", "Output", "Progress", "Receipt", "WorkerShare"]


@dataclass(slots=True)
class Receipt:
    """What a commit did. Everything handed over is settled when it is returned, by this commit or before it."""

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
            with output._transactions.turn(_caller()) as turn:
                output._adopt(turn)
            if durable:
                sync_folders(path.parent)
        except OSError as error:
            output.close()
            raise disk_errors.unwritable(path, error) from error
        except BaseException:
            output.close()
            raise
        return output

    def _adopt(self, turn: WriteTransaction) -> None:
        """Remember the file that was just created, or that was brought back from a copy."""
        if turn.file.identity != turn.state.identity:
            turn.connection.execute("UPDATE state SET identity = ?", (turn.file.identity,))
            self._index.commit()

    def register_run(self, run: str, items: int, batch_size: int) -> None:
        """Make a run known to the index, if it is not. Raises IndexForeign if it is known with other sizes."""
        with self._index.reading() as connection:
            row = connection.execute("SELECT items, batch_size FROM runs WHERE run = ?", (run,)).fetchone()
        if row is None:
            with self._transactions.turn(_caller()) as turn:
                turn.connection.execute(
                    "INSERT INTO runs (run, items, batch_size, started) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (run, items, batch_size, time.time()),
                )
                self._index.commit()
        elif row != (items, batch_size):
            raise IndexForeign(
                f"{self._index.path} knows the run {run} with {row[0]} items in batches of {row[1]}, but it "
                f"has {items} in batches of {batch_size}; does one of them come from another data folder?"
            )

    def commit(self, groups: Mapping[str, Results] | Sequence[RunResults], *, worker: str, token: int) -> Receipt:
        """Settle these results, by run: all of them, durably and together, or none. Items settled before are dropped.

        They may be handed over prepared (`commit.plan.prepare`), so that others wait no longer than they have to.
        Raises OutputUnwritable and FenceTimeout, after which the same call may be tried again, and the kinds of
        OutputRefused, after which a person has to look. Of several results for one item, the first wins.
        """
        gathered = prepare(groups) if isinstance(groups, Mapping) else groups
        while True:
            # What a stranger appended between our look at the file and our writing, the next turn moves aside.
            with suppress(TailGrew):
                return self._commit(gathered, worker, token)

    def _commit(self, gathered: Sequence[RunResults], worker: str, token: int) -> Receipt:
        """One try. Raises TailGrew too."""
        with self._transactions.turn(worker) as turn:
            parts = [plan(turn.connection, group) for group in gathered]
            self._steps("plan")
            length = turn.state.length
            if any(part.settled for part in parts):
                length = self._write(turn, parts, worker, token)
                self._index.commit()
                self._steps("commit")
        return Receipt(
            committed={part.run.run: part.done.ranges for part in parts},
            failed={part.run.run: [result.index for result in part.failed] for part in parts},
            duplicates=sum(part.duplicates for part in parts),
            length=length,
            finished_runs=[part.run.run for part in parts if part.finishes],
        )

    def _write(self, turn: WriteTransaction, parts: list[RunCommit], worker: str, token: int) -> int:
        """Append the records, and write the rows that say so; all but the COMMIT. Returns the new L."""
        offset = turn.state.length
        header = turn.state.header if offset == 0 else b""
        pieces: list[Buffer] = [piece for part in parts for piece in part.done.pieces]
        if header:
            pieces.insert(0, header)
        length = offset + len(header) + sum(part.length for part in parts)
        if pieces:
            start = b"".join(piece[:START_BYTES] for piece in pieces[:2])[:START_BYTES]
            self._index.note.write(Intent(offset, length - offset, start.hex(), worker, token))
            self._steps("note")
            turn.file.append(pieces, self._steps, to_be_synced=self._index.durable)
        # Without records too: a torn tail that was cut must not come back with the power, when nobody looks any more.
        if self._index.durable:
            turn.file.sync()
        self._steps("sync")
        stamp = entries.stamp_now(turn.connection, worker, token)
        if header:
            entries.write_header(turn.connection, header, stamp)
            offset += len(header)
        for part in parts:
            if part.settled:
                entries.write(turn.connection, part, offset, stamp)
                offset += part.length
        head, tail = turn.file.edges_after(pieces, turn.state)
        turn.connection.execute(
            "UPDATE state SET length = ?, token = max(token, ?), identity = ?, head = ?, tail = ?",
            (length, token, turn.file.identity, head, tail),
        )
        self._steps("entries")
        return length

    def clear_tail(self) -> None:
        """Leave nothing beyond L. The next commit would do it too; this is for when there will be none."""
        with self._transactions.turn(_caller()):
            pass

    def reopen_failures(self, run: str, errors: Collection[str] = (), items: Collection[int] = ()) -> int:
        """Have failed items done again: those of these classes and numbers, or all; return how many. All or none."""
        with self._transactions.turn(_caller()) as turn:
            reopened = reopen.reopen_failures(turn.connection, run, errors, items)
            self._steps("entries")
            self._index.commit()
            self._steps("commit")
        return reopened

    def remaining(self, run: str, batch: Batch) -> Sequence[int]:
        """Return the indexes of the batch's items that are neither in the output nor among the failures."""
        return queries.remaining(self._index, run, batch)

    def unfinished_batches(self, run: str) -> Iterator[int]:
        """Yield the numbers of the batches with items left, ascending; lazily, and without holding anything between."""
        return queries.unfinished_batches(self._index, run)

    def progress(self, run: str) -> Progress:
        """Return how far a run is; costs the same whatever its length."""
        return queries.progress(self._index, run)

    def all_progress(self) -> dict[str, Progress]:
        """Return how far every run is that was registered, oldest first."""
        return queries.all_progress(self._index)

    def workers(self, run: str) -> list[WorkerShare]:
        """Return who has settled how much of the run, the largest share first."""
        return queries.workers(self._index, run)

    def failures(self, run: str) -> Iterator[Failure]:
        """Yield the run's failed items, in the items' order."""
        return queries.failures(self._index, run)

    def record(self, run: str, index: int) -> bytes:
        """Return one item's record. Raises UsageError that says why there is none, OutputDamaged for changed bytes."""
        return queries.read_record(self._index, queries.find_record(self._index, run, index))

    def records(self, run: str) -> Iterator[tuple[int, bytes]]:
        """Yield (index, record) of all items in the output, in the file's order."""
        return queries.read_records(self._index, queries.places(self._index, run))

    def header(self) -> bytes:
        """Return what the output begins with, before any record."""
        with self._index.reading() as connection:
            return read_state(connection).header

    def pieces(self, run: str, after: int = 0) -> list[queries.CommitSlice]:
        """Return what was committed of the run since the commit `after`, by commit: for whoever reads in bulk."""
        return queries.pieces(self._index, run, after)

    def read(self, piece: queries.CommitSlice) -> bytes:
        """Return a piece's bytes. Raises OutputDamaged if they are not those that were committed."""
        return queries.read_piece(self._index, piece)

    def highest_token(self) -> int:
        """Return the highest token of any commit: where a lock that Redis forgot has to go on from."""
        with self._index.reading() as connection:
            return read_state(connection).token

    @property
    def waited_s(self) -> float:
        """Seconds for which this object has waited for the fence, all told."""
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
    """What to call a writer that is no worker, for those who wait for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"
