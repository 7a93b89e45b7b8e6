"""Bring an output and its index back in step: every commit that is whole is kept, the items of the others are reopened.

    diagnose: which commits are whole? ─► the lost ones are the last: put what is left of them aside, cut the file
                                       └► otherwise: write a new file of the whole ones, put the old file aside
    then: reopen the items of the lost commits in the index, and the runs; workers do them again

Nothing is destroyed: what is taken out of the output is in `<output>.damaged-<n>`. A crash in between leaves an output
that is refused, or is right already; the same repair then ends it. Everything is changed under the fence.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from isal import isal_zlib

from sheaf import disk_errors, entries
from sheaf.errors import IndexForeign, OutputReplaced, RunNotFound
from sheaf.index import Index
from sheaf.run import Run, sync_folder
from sheaf.schema import State, damage, read_state
from sheaf.tail import EDGE_BYTES, checksum_of

#: Seconds to wait for a commit that is being made.
_FENCE_WAIT_S = 5.0
_PIECE_BYTES = 1 << 20


class Commit(NamedTuple):
    """A row of `commits`; `run` is the run's name, None for the header."""

    id: int
    run: str | None
    items: int
    offset: int
    length: int
    checksum: int


@dataclass(slots=True)
class Diagnosis:
    """What was found, and what a repair does about it."""

    output: Path
    #: Bytes committed, and bytes that the file has; None: it is gone.
    length: int = 0
    size: int | None = None
    kept: list[Commit] = field(default_factory=list)
    lost: list[Commit] = field(default_factory=list)
    #: The lost header is known to the index and can be written again.
    header: bytes = b""
    #: Runs with lost items whose lists are gone, too: nobody can do those again.
    orphans: list[str] = field(default_factory=list)
    #: What earlier repairs, and commits, have put aside.
    strays: list[Path] = field(default_factory=list)
    #: Where the repair has put what it took out of the output.
    aside: Path | None = None

    @property
    def reopened(self) -> Counter[str]:
        """Run -> items that have to be done again."""
        counter: Counter[str] = Counter()
        for commit in self.lost:
            if commit.run is not None:
                counter[commit.run] += commit.items
        return counter

    @property
    def new_length(self) -> int:
        return sum(commit.length for commit in self.kept)

    @property
    def needed(self) -> bool:
        return bool(self.lost or self.header)

    @property
    def in_place(self) -> bool:
        """Whether the file needs only be cut: all that is lost lies at its end."""
        return not self.header and (not self.kept or not self.lost or self.kept[-1].id < self.lost[0].id)


def diagnose(data_dir: Path, inside: str) -> Diagnosis:
    """Look only. Others may write meanwhile. Raises IndexMissing, IndexForeign, OutputReplaced."""
    index = Index(data_dir / inside, _FENCE_WAIT_S)
    try:
        with index.reading() as connection:
            _check_index(index, connection)
            state, commits = read_state(connection), _commits(connection)
        return _diagnose(data_dir, index.output, state, commits)
    finally:
        index.drop()


def _check_index(index: Index, connection: sqlite3.Connection) -> None:
    """Raise IndexForeign for a damaged one: what it says about the output cannot be the measure of a repair."""
    if why := damage(connection):
        raise disk_errors.index_damaged(index.path, why)


def repair(data_dir: Path, inside: str) -> Diagnosis:
    """Look again under the fence, and repair. Raises FenceTimeout while a commit is being made, OutputUnwritable."""
    output = data_dir / inside
    index = Index(output, _FENCE_WAIT_S)
    try:
        connection = index.begin()
        index.note.write_holder("sheaf repair")
        _check_index(index, connection)
        state = read_state(connection)
        found = _diagnose(data_dir, output, state, _commits(connection))
        if found.needed:
            _apply(data_dir, index, connection, found)
        return found
    except OSError as error:
        raise disk_errors.unwritable(output, error) from error
    except sqlite3.Error as error:
        raise index.translate(error) from error
    finally:
        index.roll_back()
        index.drop()


def _commits(connection: sqlite3.Connection) -> list[Commit]:
    rows = connection.execute(
        "SELECT commits.id, runs.run, commits.items, offset, length, checksum FROM commits "
        "LEFT JOIN runs ON runs.id = commits.run ORDER BY commits.id"
    )
    return [Commit(*row) for row in rows]


def _diagnose(data_dir: Path, output: Path, state: State, commits: list[Commit]) -> Diagnosis:
    found = Diagnosis(output, length=state.length, strays=list_strays(output))
    end = 0
    for commit in commits:
        if commit.offset != end:
            end = -1
            break
        end += commit.length
    if end != state.length or state.output != output.name:
        raise IndexForeign(
            f"{output.name}.index contradicts itself, or belongs to {state.output}: it cannot tell which part of the "
            "file is whole. Bring the index back from a copy; or move it away and repair again, if the output is .jsonl"
        )
    try:
        with open(output, "rb") as source:
            status = os.fstat(source.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OutputReplaced(f"{output} is not a regular file; move away what lies there")
            found.size = status.st_size
            for commit in commits:
                whole = checksum_of(source, commit.offset, commit.length) == (commit.checksum, 0)
                (found.kept if whole else found.lost).append(commit)
    except FileNotFoundError:
        found.lost = commits
    except IsADirectoryError as error:
        raise OutputReplaced(f"{output} is a folder now; move it away") from error
    _save_header(found, state)
    found.orphans = [run for run in found.reopened if _open_run(data_dir, run) is None]
    return found


def _save_header(found: Diagnosis, state: State) -> None:
    """A damaged header before whole records is written anew, not lost."""
    if found.kept and found.lost and found.lost[0].run is None and len(state.header) == found.lost[0].length:
        found.header = state.header
        found.kept.insert(0, found.lost.pop(0))


def _open_run(data_dir: Path, run: str) -> Run | None:
    try:
        return Run.open(data_dir, run)
    except RunNotFound:
        return None


def list_strays(output: Path) -> list[Path]:
    """What was moved aside beside an output, by commits and by repairs."""
    names = (f"{output.name}.stray-", f"{output.name}.damaged-")
    with suppress(FileNotFoundError):
        return sorted(path for path in output.parent.iterdir() if path.name.startswith(names))
    return []


def _apply(data_dir: Path, index: Index, connection: sqlite3.Connection, found: Diagnosis) -> None:
    # A mark that outlives the items would keep the run from ever being looked at again: taken away before, in case we
    # die; and after the commit, in case somebody has set it meanwhile.
    _reopen_runs(data_dir, found)
    if found.in_place:
        _save_end(found)
    else:
        _write_anew(found)
    for commit in found.lost:
        entries.reopen(connection, commit.id)
    end = 0
    for commit in found.kept:
        connection.execute("UPDATE commits SET offset = ? WHERE id = ?", (end, commit.id))
        end += commit.length
    _write_state(connection, found.output, end)
    # Also seals the index (see sheaf/turn.py): only after it is the file cut.
    index.commit()
    _reopen_runs(data_dir, found)
    if found.in_place and found.size is not None:
        os.truncate(found.output, end)


def _reopen_runs(data_dir: Path, found: Diagnosis) -> None:
    for name in found.reopened:
        run = _open_run(data_dir, name)
        if run is not None:
            run.reopen()


def _write_state(connection: sqlite3.Connection, output: Path, length: int) -> None:
    head = tail = 0
    identity = ""
    if output.exists():
        with open(output, "rb") as source:
            status = os.fstat(source.fileno())
            identity = f"{status.st_dev}:{status.st_ino}"
            edge = min(length, EDGE_BYTES)
            head = checksum_of(source, 0, edge)[0]
            tail = checksum_of(source, length - edge, edge)[0]
            os.fsync(source.fileno())
    connection.execute("UPDATE state SET length = ?, identity = ?, head = ?, tail = ?", (length, identity, head, tail))


def _save_end(found: Diagnosis) -> None:
    """Copy what will be cut."""
    if found.size is None or found.size <= found.new_length:
        return
    found.aside = free_name(found.output)
    with open(found.output, "rb") as source, open(found.aside, "xb") as target:
        _copy(source, found.new_length, found.size - found.new_length, target)
        _sync(target)
    sync_folder(found.output.parent)


def _write_anew(found: Diagnosis) -> None:
    """Write a file of what is whole and put it in the place of the old one, which stays as `.damaged-<n>`."""
    draft = found.output.with_name(f"{found.output.name}.repairing")
    try:
        with open(found.output, "rb") as source, open(draft, "wb") as target:
            for place, commit in enumerate(found.kept):
                if place == 0 and found.header:
                    target.write(found.header)
                elif _copy(source, commit.offset, commit.length, target) != commit.checksum:
                    raise OSError(f"{found.output.name} changes while it is repaired; stop whoever writes to it")
            _sync(target)
        found.aside = free_name(found.output)
        os.link(found.output, found.aside)
        draft.rename(found.output)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(found.output.parent)


def _copy(source: BinaryIO, offset: int, length: int, target: BinaryIO) -> int:
    """Copy a part of a file to the end of another; return its CRC-32."""
    source.seek(offset)
    checksum = 0
    while length > 0 and (piece := source.read(min(length, _PIECE_BYTES))):
        checksum = isal_zlib.crc32(piece, checksum)
        target.write(piece)
        length -= len(piece)
    return checksum


def _sync(target: BinaryIO) -> None:
    target.flush()
    os.fsync(target.fileno())


def free_name(output: Path) -> Path:
    """A name for what is taken out of an output."""
    number = 1
    while os.path.lexists(path := output.with_name(f"{output.name}.damaged-{number}")):
        number += 1
    return path
