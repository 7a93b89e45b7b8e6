"""Take failures out of the index, in the fence's transaction, so that their items are done again."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from itertools import groupby

from sheaf.output.commit.plan import find_run
from sheaf.output.index import settled as settled_column
from sheaf.run.items import known_as


def reopen_failures(
    connection: sqlite3.Connection, run: str, errors: Collection[str] = (), items: Collection[int] = ()
) -> int:
    """Make failed items open again: those of these classes and numbers, or all; return how many. Changes nothing else.

    Each of them loses its row among the failures and its bit among what is settled together, or not at all: so an item
    is done, failed or open, and never two of these.
    """
    row = find_run(connection, run)
    where, values = _condition(row.id, errors, items)
    batches = connection.execute(
        # The items of a batch come together, so that one batch after the other is all that is held.
        f"SELECT item FROM failures WHERE {where} ORDER BY item",  # noqa: S608  no value stands in the text
        values,
    )
    reopened, lowest = 0, row.complete_below
    for number, failed in groupby((item for (item,) in batches), lambda item: item // row.batch_size):
        mask = _mask(failed, number * row.batch_size)
        reopened += mask.bit_count()
        lowest = min(lowest, number)
        _reopen_batch(connection, row.id, number, row.batch_items(number), mask)
    connection.execute(f"DELETE FROM failures WHERE {where}", values)  # noqa: S608
    connection.execute(
        "UPDATE runs SET failed = failed - ?, complete_below = ? WHERE id = ?", (reopened, lowest, row.id)
    )
    return reopened


def _condition(run: int, errors: Collection[str], items: Collection[int]) -> tuple[str, list[str | int]]:
    where, values = "run = ?", list[str | int]((run,))
    for column, chosen in (("error", known_as(errors)), ("item", items)):
        if chosen:
            where += f" AND {column} IN ({', '.join('?' * len(chosen))})"
            values += chosen
    return where, values


def _mask(items: Iterator[int], first: int) -> int:
    mask = 0
    for item in items:
        mask |= 1 << (item - first)
    return mask


def _reopen_batch(connection: sqlite3.Connection, run: int, number: int, count: int, mask: int) -> None:
    (settled,) = connection.execute(
        "SELECT settled FROM batches WHERE run = ? AND number = ?", (run, number)
    ).fetchone()
    bits = settled_column.decode(settled, count) & ~mask
    connection.execute(
        "UPDATE batches SET left = ?, settled = ? WHERE run = ? AND number = ?",
        (*settled_column.encode(bits, count), run, number),
    )
