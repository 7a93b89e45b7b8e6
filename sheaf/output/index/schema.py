"""The index's tables. Their version is in the database's header; a change to them has to raise it."""

from __future__ import annotations

import sqlite3

#: "shea", in the database's header: says whose it is.
APPLICATION_ID = 0x73686561
#: The schema's version, in the database's header; a newer one is refused.
SCHEMA_VERSION = 1

#: What creates them, in one transaction.
STATEMENTS = (
    # One row: how far the output is committed, and how it is recognised.
    """CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        output TEXT NOT NULL,                 -- the output's file name
        header BLOB NOT NULL,                 -- what the first commit writes before its records
        length INTEGER NOT NULL DEFAULT 0,    -- L: bytes committed
        token INTEGER NOT NULL DEFAULT 0,     -- the highest token of any commit
        identity TEXT NOT NULL DEFAULT '',    -- device:inode; '' until the file was created
        head INTEGER NOT NULL DEFAULT 0,      -- CRC-32 of the first <= 4096 bytes before L
        tail INTEGER NOT NULL DEFAULT 0,      -- CRC-32 of the last <= 4096 bytes before L
        seals INTEGER NOT NULL DEFAULT 0,     -- take-overs from writers that died, see commit/transaction.py
        created REAL NOT NULL)""",
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL UNIQUE,
        items INTEGER NOT NULL,
        batch_size INTEGER NOT NULL,
        done INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        complete_below INTEGER NOT NULL DEFAULT 0,   -- every batch with a lower number is complete
        started REAL NOT NULL,
        last_commit REAL NOT NULL DEFAULT 0)""",
    "CREATE TABLE workers (id INTEGER PRIMARY KEY, worker TEXT NOT NULL UNIQUE)",
    """CREATE TABLE commits (
        id INTEGER PRIMARY KEY,
        run INTEGER,                          -- NULL: the header
        items INTEGER NOT NULL,
        low INTEGER, high INTEGER,            -- lowest and highest item
        ranges BLOB NOT NULL,                 -- the items, packed (core/ranges.py); records are in the items' order
        lengths BLOB NOT NULL,                -- the records' lengths, packed
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL,
        checksum INTEGER NOT NULL,            -- CRC-32 of the bytes
        worker INTEGER NOT NULL,
        token INTEGER NOT NULL,
        at REAL NOT NULL)""",
    "CREATE INDEX commits_of_run ON commits (run)",
    """CREATE TABLE batches (
        run INTEGER NOT NULL,
        number INTEGER NOT NULL,
        left INTEGER NOT NULL,                -- items neither done nor failed
        settled BLOB,                         -- bitmap, little-endian; NULL when left = 0
        commits BLOB NOT NULL,                -- ids of the commits that hold its records, packed
        PRIMARY KEY (run, number)) WITHOUT ROWID""",
    """CREATE TABLE failures (
        run INTEGER NOT NULL,
        item INTEGER NOT NULL,
        error TEXT NOT NULL,
        message TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (run, item))""",
    """CREATE TABLE shares (
        run INTEGER NOT NULL,
        worker INTEGER NOT NULL,
        items INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        commits INTEGER NOT NULL,
        PRIMARY KEY (run, worker)) WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def has_tables(connection: sqlite3.Connection) -> bool:
    """Whether anything was ever created in this database."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None


def damage(connection: sqlite3.Connection) -> str | None:
    """Say what is wrong with the database itself; None if it is whole. Reads all of it.

    A disk that dropped SQLite's own syncs leaves pages of different moments: some of their rows have no value where
    there must be one, which misleads every reader.
    """
    # SQLite's own indexes are compared with their tables, too: lookups use them.
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        return " ".join(str(found).split())
    (rows,) = connection.execute("SELECT count(*) FROM state").fetchone()
    return None if rows == 1 else "its state is missing"
