"""Bring an output and its index back in step: every commit that is whole is kept, the items of the others are reopened.

    diagnose: which commits are whole? ─► the lost ones are the last: put what is left of them aside, cut the file
                                       └► otherwise: write a new file of the whole ones, put the old file aside
    then: reopen the items of the lost commits in the index, and the runs; workers do them again

Nothing is destroyed: what is taken out of the output is in `<output>.damaged-<n>`. A crash in between leaves an output
that is refused, or is right already; the same repair then completes it: a commit that is no longer whole in the output
is taken from the file that was put aside. Everything is changed under the fence. What the index holds twice is written
anew from what it follows from (`sheaf/output/index/derived.py`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from sheaf.core.bitmap import Bitmap
from sheaf.core.files import exists
from sheaf.output.commit.data_file import edges_of
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.index.derived import derive, drop_failures, write
from sheaf.output.index.writer import IndexWriter
from sheaf.output.output import Output
from sheaf.output.repair.diagnosis import (
    Diagnosis,
    diagnose,
    diagnose_inside,
    list_strays,
    open_run,
    rebuild_lookups,
    size_of,
)
from sheaf.run.run import sync_folder

__all__ = ["Diagnosis", "clear_end", "diagnose", "free_name", "list_strays", "repair"]

#: Seconds to wait for a commit that is being made.
_FENCE_WAIT_S = 5.0
_COPY_BYTES = 1 << 20


def repair(data_dir: Path, inside: str) -> Diagnosis:
    """Look again under the fence, and repair. Raises FenceTimeout while a commit is being made, OutputUnwritable."""
    output = data_dir / inside
    index = Index(output, _FENCE_WAIT_S)
    try:
        writer = index.begin()
        index.note.write_owner("sheaf repair")
        with disk_errors.making_sense(index.path):
            reindexed = rebuild_lookups(data_dir, index, writer)
            found = diagnose_inside(data_dir, output, writer, reindexed=reindexed)
            if found.needed:
                _apply(data_dir, index, writer, found)
        return found
    except disk_errors.ERRORS as error:
        raise index.translate(error) from error
    finally:
        index.roll_back()
        index.drop()


def clear_end(path: Path) -> None:
    """Leave no bytes beyond the last commit, as the next one would; for when there will be none."""
    output = Output(path, fence_wait_s=_FENCE_WAIT_S)
    try:
        output.remove_excess()
    finally:
        output.close()


def _apply(data_dir: Path, index: Index, writer: IndexWriter, found: Diagnosis) -> None:
    # A finished mark that stayed would keep the run from ever being looked at again: removed before, in case we die;
    # and after the commit, in case a worker has set it meanwhile.
    _reopen_runs(data_dir, found)
    if not found.in_place:
        _write_anew(found)
    elif found.lost:
        _save_end(found)
    for commit in found.lost:
        writer.remove_commit(commit.row)
    end = 0
    for commit in found.kept:
        writer.move_commit(commit.row.id, end)
        end += commit.row.length
    _write_derived(data_dir, writer)
    _write_state(writer, found.output, end)
    # Also seals the index (see sheaf/output/commit/transaction.py): only after it is the file cut.
    index.commit()
    _reopen_runs(data_dir, found)
    if found.in_place and found.lost and found.size is not None:
        os.truncate(found.output, end)


def _write_derived(data_dir: Path, writer: IndexWriter) -> None:
    for run in writer.runs():
        size = size_of(data_dir, run)
        done = Bitmap(size.items)
        for commit in writer.all_commits_of(run.id):
            for first, end in commit.records()[0]:
                done.add(first, end)
        drop_failures(writer, run.id, size, done)
        write(writer, run.id, derive(writer, run.id, size))


def _reopen_runs(data_dir: Path, found: Diagnosis) -> None:
    # A run of which nothing is open after all is marked again by the next worker that looks.
    for name in {*found.reopened, *(name for name, _ in found.mends if name is not None)}:
        run = open_run(data_dir, name)
        if run is not None:
            run.reopen()


def _write_state(writer: IndexWriter, output: Path, length: int) -> None:
    edges, identity = (0, 0), ""
    if exists(output):
        with open(output, "rb") as source:
            status = os.fstat(source.fileno())
            identity = f"{status.st_dev}:{status.st_ino}"
            edges = edges_of(source, length)
            os.fsync(source.fileno())
    writer.set_file(length, identity, edges)


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
    """Write a file of what is whole and put it in the place of the old one, which is kept as `.damaged-<n>`."""
    draft = found.output.with_name(f"{found.output.name}.repairing")
    draft.unlink(missing_ok=True)
    try:
        # A link to another file that was created under that name meanwhile is not followed.
        with ExitStack() as files, open(draft, "xb") as target:
            sources: dict[Path | None, BinaryIO] = {}
            for place, commit in enumerate(found.kept):
                if place == 0 and found.header:
                    target.write(found.header)
                    continue
                if commit.source not in sources:
                    sources[commit.source] = files.enter_context(open(commit.source or found.output, "rb"))
                row = commit.row
                if _copy(sources[commit.source], row.offset, row.length, target) != row.checksum:
                    raise OSError(
                        f"{found.output.name} changes while it is repaired; stop the program that writes to it"
                    )
            _sync(target)
        if found.size is not None:
            found.aside = free_name(found.output)
            os.link(found.output, found.aside)
            sync_folder(found.output.parent)
        draft.rename(found.output)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(found.output.parent)


def _copy(source: BinaryIO, offset: int, length: int, target: BinaryIO) -> int:
    """Copy bytes of a file to the end of another; return their CRC-32."""
    source.seek(offset)
    checksum = 0
    while length > 0 and (data := source.read(min(length, _COPY_BYTES))):
        checksum = isal_zlib.crc32(data, checksum)
        target.write(data)
        length -= len(data)
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
