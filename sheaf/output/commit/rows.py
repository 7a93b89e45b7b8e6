"""The rows that one commit writes into the index, in the fence's transaction."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from sheaf.core.ranges import pack, pack_ranges, unpack
from sheaf.output.commit.plan import Records, RunCommit, RunRow
from sheaf.output.index import settled as settled_column
from sheaf.run.items import Failed

#: Characters of a failure's message that are kept.
_MESSAGE_LIMIT = 10_000


class Stamp(NamedTuple):
    """Who commits, and when."""

    worker: int
    token: int
    at: float


def stamp_now(connection: sqlite3.Connection, worker: str, token: int) -> Stamp:
    return Stamp(_worker_id(connection, worker), token, time.time())


def _worker_id(connection: sqlite3.Connection, worker: str) -> int:
    """The worker's number in the index, given on its first commit."""
    row = connection.execute("SELECT id FROM workers WHERE worker = ?", (worker,)).fetchone()
    if row is None:
        return int(connection.execute("INSERT INTO workers (worker) VALUES (?)", (worker,)).lastrowid or 0)
    return int(row[0])


def write_header(connection: sqlite3.Connection, header: bytes, stamp: Stamp) -> None:
    """Note that the output begins with these bytes, which are no item's."""
    _insert_commit(connection, None, Records(pieces=[header]), 0, stamp)


def write(connection: sqlite3.Connection, part: RunCommit, offset: int, stamp: Stamp) -> None:
    """Note that these items are settled, their records at `offset`."""
    run = part.run
    commit = None
    if part.done.lengths:
        commit = _insert_commit(connection, run.id, part.done, offset, stamp)
    _insert_failures(connection, run, part.failed, stamp.at)
    _write_batches(connection, part, commit)
    connection.execute(
        "UPDATE runs SET done = done + ?, failed = failed + ?, bytes = bytes + ?, complete_below = ?, last_commit = ? "
        "WHERE id = ?",
        (len(part.done.lengths), len(part.failed), part.length, _complete_below(connection, part), stamp.at, run.id),
    )
    connection.execute(
        "INSERT INTO shares (run, worker, items, bytes, commits) VALUES (?, ?, ?, ?, 1) ON CONFLICT (run, worker) "
        "DO UPDATE SET items = items + excluded.items, bytes = bytes + excluded.bytes, commits = commits + 1",
        (run.id, stamp.worker, part.settled, part.length),
    )


def _insert_commit(
    connection: sqlite3.Connection,
    run: int | None,
    records: Records,
    offset: int,
    stamp: Stamp,
) -> int:
    records.seal()
    ranges = records.ranges
    low, high = (ranges[0][0], ranges[-1][1] - 1) if ranges else (None, None)
    cursor = connection.execute(
        "INSERT INTO commits (run, items, low, high, ranges, lengths, offset, length, checksum, worker, token, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run,
            len(records.lengths),
            low,
            high,
            pack_ranges(ranges),
            records.packed_lengths,
            offset,
            sum(map(len, records.pieces)),
            records.checksum,
            *stamp,
        ),
    )
    return int(cursor.lastrowid or 0)


def _insert_failures(connection: sqlite3.Connection, run: RunRow, failed: list[Failed], at: float) -> None:
    connection.executemany(
        "INSERT INTO failures (run, item, error, message, attempts, at) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (run.id, failure.index, _plain(failure.error), _plain(failure.message), failure.attempts, at)
            for failure in failed
        ],
    )


def _plain(text: str) -> str:
    """Text that SQLite takes and a person can bear: no lone surrogates, and not without end."""
    if len(text) > _MESSAGE_LIMIT:
        text = f"{text[:_MESSAGE_LIMIT]} … ({len(text) - _MESSAGE_LIMIT} more characters)"
    return text.encode(errors="backslashreplace").decode()


def _write_batches(connection: sqlite3.Connection, part: RunCommit, commit: int | None) -> None:
    rows = []
    alone = pack([commit]) if commit is not None else b""
    for number, mask in part.masks.items():
        count = part.run.batch_items(number)
        before = part.batches[number]
        left, settled = settled_column.encode(before.settled | mask, count)
        commits = before.commits
        if commit is not None and number in part.done_masks:
            commits = pack([*unpack(commits), commit]) if commits else alone
        rows.append((part.run.id, number, left, settled, commits))
    connection.executemany(
        "INSERT INTO batches (run, number, left, settled, commits) VALUES (?, ?, ?, ?, ?) ON CONFLICT (run, number) "
        "DO UPDATE SET left = excluded.left, settled = excluded.settled, commits = excluded.commits",
        rows,
    )


def _complete_below(connection: sqlite3.Connection, part: RunCommit) -> int:
    """The number below which every batch is complete, so that nobody who looks for open ones has to pass them."""
    number = part.run.complete_below
    if number not in part.masks:
        return number
    rows = connection.execute(
        "SELECT number, left FROM batches WHERE run = ? AND number >= ? ORDER BY number", (part.run.id, number)
    )
    for found, left in rows:
        if found != number or left:
            break
        number += 1
    rows.close()
    return number


def remove(connection: sqlite3.Connection, commit: int) -> None:
    """Take a commit out of the index, for a repair, which writes anew what follows from the others."""
    run, items, length, worker = connection.execute(
        "SELECT run, items, length, worker FROM commits WHERE id = ?", (commit,)
    ).fetchone()
    connection.execute("DELETE FROM commits WHERE id = ?", (commit,))
    connection.execute(
        "UPDATE shares SET items = items - ?, bytes = bytes - ?, commits = commits - 1 WHERE run = ? AND worker = ?",
        (items, length, run, worker),
    )
