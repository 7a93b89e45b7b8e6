"""What the index's tables say at one moment: within `Index.reading()`, or while a writer has the fence.

All SQL that reads a table of the index is here. What is read can be damaged; SQLite's errors, and what makes no sense,
are translated where the transaction began (`database.py`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator

from sheaf.core.errors import IndexForeign
from sheaf.output.index import schema
from sheaf.output.index.rows import BatchRow, CommitRow, Failure, RunRow, State, WorkerShare
from sheaf.run.items import failure_class, known_as

_STATE = "output, header, length, token, identity, head, tail, seals"
_RUN = "id, run, items, batch_size, done, failed, bytes, complete_below, started, last_commit"
_COMMIT = "id, run, items, low, high, ranges, lengths, offset, length, checksum, worker, token, at"
_BATCH = "run, number, left, settled, commits"
_FAILURE = "item, error, message, attempts, at"


class IndexReader:
    """A run is named by its row, once that is known; by its `id` where the row may be damaged."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def damage(self) -> str | None:
        """Say what is wrong with the database itself; None if it is whole. Reads all of it."""
        return schema.damage(self._connection)

    def state(self) -> State:
        return State(*self._connection.execute(f"SELECT {_STATE} FROM state").fetchone())

    def find_run(self, name: str) -> RunRow | None:
        row = self._connection.execute(f"SELECT {_RUN} FROM runs WHERE run = ?", (name,)).fetchone()
        return None if row is None else RunRow(*row)

    def run(self, name: str) -> RunRow:
        """Raises IndexForeign if the index does not know the run."""
        row = self.find_run(name)
        if row is None:
            raise IndexForeign(
                f"this output's index does not know the run {name}; was the index replaced by an older or another one? "
                "Workers register the run again by themselves; if they do not, submit it again"
            )
        return row

    def runs(self) -> list[RunRow]:
        """All runs that were registered, oldest first."""
        return [RunRow(*row) for row in self._connection.execute(f"SELECT {_RUN} FROM runs ORDER BY id")]

    def batch(self, run: RunRow, number: int) -> BatchRow | None:
        """None if nothing of the batch is settled."""
        found = self._connection.execute(
            f"SELECT {_BATCH} FROM batches WHERE run = ? AND number = ?", (run.id, number)
        ).fetchone()
        return None if found is None else BatchRow(*found)

    def batches(self, run: RunRow, numbers: Iterable[int]) -> dict[int, BatchRow]:
        """Those of these batches of which something is settled."""
        rows = self._connection.execute(
            f"SELECT {_BATCH} FROM batches WHERE run = ? AND number IN (SELECT value FROM json_each(?))",
            (run.id, json.dumps(list(numbers))),
        )
        return {row[1]: BatchRow(*row) for row in rows}

    def batches_of(self, run_id: int) -> Iterator[BatchRow]:
        for row in self._connection.execute(f"SELECT {_BATCH} FROM batches WHERE run = ?", (run_id,)):
            yield BatchRow(*row)

    def complete_batches(self, run: RunRow, first: int, limit: int) -> list[int]:
        """Numbers of complete batches from `first` on, ascending."""
        rows = self._connection.execute(
            "SELECT number FROM batches WHERE run = ? AND number >= ? AND left = 0 ORDER BY number LIMIT ?",
            (run.id, first, limit),
        )
        return [number for (number,) in rows]

    def first_incomplete(self, run: RunRow, number: int) -> int:
        """The number of the first batch from `number` on that is not complete."""
        rows = self._connection.execute(
            "SELECT number, left FROM batches WHERE run = ? AND number >= ? ORDER BY number", (run.id, number)
        )
        for found, left in rows:
            if found != number or left:
                break
            number += 1
        rows.close()
        return number

    def batches_with_failures(self, run: RunRow, after: int, limit: int) -> list[tuple[BatchRow, int]]:
        """Batches with a higher number than `after`, ascending, and how many items of each failed."""
        rows = self._connection.execute(
            f"SELECT {_BATCH}, (SELECT count(*) FROM failures WHERE failures.run = batches.run "
            "AND item >= number * ?1 AND item < number * ?1 + ?1) FROM batches "
            "WHERE run = ?2 AND number > ?3 ORDER BY number LIMIT ?4",
            (run.batch_size, run.id, after, limit),
        )
        return [(BatchRow(*row[:-1]), row[-1]) for row in rows]

    def commit(self, number: int) -> CommitRow:
        """Raises ValueError if there is none of that number."""
        row = self._connection.execute(f"SELECT {_COMMIT} FROM commits WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise ValueError(f"commit {number} is not there")
        return CommitRow(*row)

    def last_commit(self) -> int:
        """The highest number of any commit; 0 if there is none."""
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM commits").fetchone()
        return int(last)

    def commits(self, after: int = 0, last: int | None = None, limit: int = -1) -> Iterator[CommitRow]:
        """All commits with a higher number than `after`, up to `last`, in the file's order."""
        rows = self._connection.execute(
            f"SELECT {_COMMIT} FROM commits WHERE id > ?1 AND (?2 IS NULL OR id <= ?2) ORDER BY id LIMIT ?3",
            (after, last, limit),
        )
        for row in rows:
            yield CommitRow(*row)

    def commits_of(self, run: RunRow, after: int, limit: int) -> list[CommitRow]:
        """The run's commits with a higher number than `after`, in the file's order."""
        rows = self._connection.execute(
            f"SELECT {_COMMIT} FROM commits WHERE run = ? AND id > ? ORDER BY id LIMIT ?", (run.id, after, limit)
        )
        return [CommitRow(*row) for row in rows]

    def commit_ids_of(self, run: RunRow, after: int, limit: int) -> list[int]:
        rows = self._connection.execute(
            "SELECT id FROM commits WHERE run = ? AND id > ? ORDER BY id LIMIT ?", (run.id, after, limit)
        )
        return [number for (number,) in rows]

    def all_commits_of(self, run_id: int) -> Iterator[CommitRow]:
        """The run's commits, found without SQLite's index of them by run, which may be what is damaged."""
        for row in self._connection.execute(f"SELECT {_COMMIT} FROM commits WHERE +run = ? ORDER BY id", (run_id,)):
            yield CommitRow(*row)

    def committed_items(self, run: RunRow) -> int:
        """How many records the run's commits hold."""
        (items,) = self._connection.execute(
            "SELECT coalesce(sum(items), 0) FROM commits WHERE run = ?", (run.id,)
        ).fetchone()
        return int(items)

    def failure(self, run: RunRow, item: int) -> Failure | None:
        row = self._connection.execute(
            f"SELECT {_FAILURE} FROM failures WHERE run = ? AND item = ?", (run.id, item)
        ).fetchone()
        return None if row is None else _failure(row)

    def failures(self, run: RunRow, after: int, limit: int) -> list[Failure]:
        """Failures of items after `after`, in the items' order."""
        rows = self._connection.execute(
            f"SELECT {_FAILURE} FROM failures WHERE run = ? AND item > ? ORDER BY item LIMIT ?", (run.id, after, limit)
        )
        return [_failure(row) for row in rows]

    def failed_items(self, run_id: int, errors: Collection[str] = (), items: Collection[int] = ()) -> Iterator[int]:
        """The failed items, ascending; of these classes and numbers only, if any are given."""
        where, values = which_failures(run_id, errors, items)
        for (item,) in self._connection.execute(f"SELECT item FROM failures WHERE {where} ORDER BY item", values):
            yield item

    def shares(self, run: RunRow) -> list[WorkerShare]:
        """Who has settled how much of the run, the largest share first."""
        rows = self._connection.execute(
            "SELECT workers.worker, items, bytes, commits FROM shares JOIN workers ON workers.id = shares.worker "
            "WHERE run = ? ORDER BY items DESC, workers.worker",
            (run.id,),
        )
        return [WorkerShare(*row) for row in rows]


def which_failures(run_id: int, errors: Collection[str], items: Collection[int]) -> tuple[str, list[str | int]]:
    """The condition for these rows of `failures`, and its values."""
    where, values = "run = ?", list[str | int]((run_id,))
    for column, chosen in (("error", known_as(errors)), ("item", items)):
        if chosen:
            where += f" AND {column} IN ({', '.join('?' * len(chosen))})"
            values += chosen
    return where, values


def _failure(row: tuple[int, str, str, int, float]) -> Failure:
    item, error, message, attempts, at = row
    return Failure(item, failure_class(error), message, attempts, at)
