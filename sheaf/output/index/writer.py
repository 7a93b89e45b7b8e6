"""What is written to the index's tables, while the fence is ours. All SQL that changes a table of the index is here.

Nothing is durable, or seen by others, before `Index.commit()`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sheaf.output.index.reader import IndexReader, which_failures
from sheaf.output.index.rows import BatchRow, BatchValues, CommitRow, RunRow, Size
from sheaf.run.items import Failed

#: Characters of a failure's message that are kept.
_MESSAGE_LIMIT = 10_000


class IndexWriter(IndexReader):
    """It sees what it has written."""

    # The output itself.

    def set_identity(self, identity: str) -> None:
        """Note which file the output is, by its device and inode."""
        self._connection.execute("UPDATE state SET identity = ?", (identity,))

    def set_file(self, length: int, identity: str, edges: tuple[int, int], token: int = 0) -> None:
        """Note how far the file is committed, by a writer with that token, and how it is recognised."""
        self._connection.execute(
            "UPDATE state SET length = ?, token = max(token, ?), identity = ?, head = ?, tail = ?",
            (length, token, identity, *edges),
        )

    def seal(self) -> None:
        """Change nothing that means anything: for a transaction that has to be written, see commit/transaction.py."""
        self._connection.execute("UPDATE state SET seals = seals + 1")

    # What a commit notes.

    def add_run(self, name: str, size: Size, at: float) -> None:
        """Make a run known, unless it is."""
        self._connection.execute(
            "INSERT INTO runs (run, items, batch_size, started) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (name, size.items, size.batch_size, at),
        )

    def worker_id(self, worker: str) -> int:
        """The worker's number in the index, given on its first commit."""
        row = self._connection.execute("SELECT id FROM workers WHERE worker = ?", (worker,)).fetchone()
        if row is None:
            return int(self._connection.execute("INSERT INTO workers (worker) VALUES (?)", (worker,)).lastrowid or 0)
        return int(row[0])

    def add_commit(self, row: CommitRow) -> int:
        """Insert a commit; return the number that it got."""
        cursor = self._connection.execute(
            "INSERT INTO commits (run, items, low, high, ranges, lengths, offset, length, checksum, worker, token, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row[1:],
        )
        return int(cursor.lastrowid or 0)

    def add_failures(self, run: RunRow, failures: Iterable[Failed], at: float) -> None:
        self._connection.executemany(
            "INSERT INTO failures (run, item, error, message, attempts, at) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (run.id, failure.index, _plain(failure.error), _plain(failure.message), failure.attempts, at)
                for failure in failures
            ],
        )

    def write_batches(self, batches: Iterable[BatchValues]) -> None:
        """Insert batches, or replace what is noted of them."""
        self._connection.executemany(
            "INSERT INTO batches (run, number, left, settled, commits) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (run, number) DO UPDATE "
            "SET left = excluded.left, settled = excluded.settled, commits = excluded.commits",
            batches,
        )

    def count(self, run: RunRow, *, done: int, failed: int, length: int, complete_below: int, at: float) -> None:
        """Add a commit's items and bytes to the run's own."""
        self._connection.execute(
            "UPDATE runs SET done = done + ?, failed = failed + ?, bytes = bytes + ?, complete_below = ?, "
            "last_commit = ? WHERE id = ?",
            (done, failed, length, complete_below, at, run.id),
        )

    def credit(self, run: RunRow, worker_id: int, items: int, length: int) -> None:
        """Add a commit's items and bytes to the worker's share of the run."""
        self._connection.execute(
            "INSERT INTO shares (run, worker, items, bytes, commits) VALUES (?, ?, ?, ?, 1) ON CONFLICT (run, worker) "
            "DO UPDATE SET items = items + excluded.items, bytes = bytes + excluded.bytes, commits = commits + 1",
            (run.id, worker_id, items, length),
        )

    # Failures that are tried again.

    def remove_failures(self, run: RunRow, errors: Collection[str], items: Collection[int]) -> None:
        """Delete those of these classes and numbers, or all."""
        where, values = which_failures(run.id, errors, items)
        self._connection.execute(f"DELETE FROM failures WHERE {where}", values)

    def uncount_failures(self, run: RunRow, failed: int, complete_below: int) -> None:
        """Take failures out of the run's counters."""
        self._connection.execute(
            "UPDATE runs SET failed = failed - ?, complete_below = ? WHERE id = ?", (failed, complete_below, run.id)
        )

    # What a repair writes anew.

    def rebuild_lookups(self) -> None:
        """Have SQLite make its own indexes anew from the tables."""
        self._connection.execute("REINDEX")

    def raw_names(self) -> list[tuple[int, bytes]]:
        """The runs' ids and names, which need be no text; by the lookup of runs by name, which may differ."""
        return self._connection.execute("SELECT id, CAST(run AS BLOB) FROM runs ORDER BY run").fetchall()

    def rename_run(self, run_id: int, name: str) -> None:
        self._connection.execute("UPDATE runs SET run = ? WHERE id = ?", (name, run_id))

    def remove_commit(self, row: CommitRow) -> None:
        """Delete a commit and its part of the worker's share; counters and batches are written anew afterwards."""
        self._connection.execute("DELETE FROM commits WHERE id = ?", (row.id,))
        self._connection.execute(
            "UPDATE shares SET items = items - ?, bytes = bytes - ?, commits = commits - 1 "
            "WHERE run = ? AND worker = ?",
            (row.items, row.length, row.run, row.worker),
        )

    def move_commit(self, number: int, offset: int) -> None:
        self._connection.execute("UPDATE commits SET offset = ? WHERE id = ?", (offset, number))

    def failure_rows(self, run_id: int) -> list[tuple[int, object]]:
        """SQLite's number of each row, and what the row says the item is."""
        return self._connection.execute("SELECT rowid, item FROM failures WHERE run = ?", (run_id,)).fetchall()

    def remove_failure_rows(self, numbers: Iterable[int]) -> None:
        self._connection.executemany("DELETE FROM failures WHERE rowid = ?", [(number,) for number in numbers])

    def replace_counters(
        self, run_id: int, size: Size, *, done: int, failed: int, length: int, complete_below: int
    ) -> None:
        self._connection.execute(
            "UPDATE runs SET items = ?, batch_size = ?, done = ?, failed = ?, bytes = ?, complete_below = ? "
            "WHERE id = ?",
            (size.items, size.batch_size, done, failed, length, complete_below, run_id),
        )

    def replace_batches(self, run_id: int, batches: Iterable[BatchRow]) -> None:
        self._connection.execute("DELETE FROM batches WHERE run = ?", (run_id,))
        self.write_batches(batches)


def _plain(text: str) -> str:
    """Text that SQLite takes and a person can bear: no lone surrogates, and of limited length."""
    if len(text) > _MESSAGE_LIMIT:
        text = f"{text[:_MESSAGE_LIMIT]} … ({len(text) - _MESSAGE_LIMIT} more characters)"
    return text.encode(errors="backslashreplace").decode()
