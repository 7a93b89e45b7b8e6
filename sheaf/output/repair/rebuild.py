"""Make a new index for an output that has lost its own, where the records say which items they are: JSON lines.

Each line holds its item's index and text; a run whose list has that text at that place is the one it belongs to. The
new output and index are made by ordinary commits in a hidden folder, and put in place at the end; the old file is kept.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isal import igzip_lib

from sheaf.core.bitmap import Bitmap
from sheaf.core.errors import IndexMissing, OutputMissing, RunNotFound
from sheaf.core.files import exists
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.output.output import Output
from sheaf.output.repair.repair import free_name
from sheaf.run.catalog import runs_of
from sheaf.run.items import Batch, Done, Result
from sheaf.run.run import Run, sync_folder

#: A commit is made of this many bytes or records.
_COMMIT_BYTES, _COMMIT_RECORDS = 8 << 20, 10_000
#: Items of a list that are read at once, to be compared with the records.
_ITEMS = 1000


@dataclass(slots=True)
class Rebuilt:
    """What was found in the file, and where the file is kept."""

    output: Path
    #: Run -> records found; of all runs that go into this output.
    found: Counter[str] = field(default_factory=Counter)
    items: dict[str, int] = field(default_factory=dict)
    #: Lines that are no record of these runs, or the second one of an item.
    unknown: int = 0
    aside: Path | None = None


def rebuild(data_dir: Path, inside: str, *, apply: bool) -> Rebuilt:
    """Read the file and, with `apply`, put a new one with an index in its place.

    Raises OutputMissing, and IndexMissing for a file whose records do not say whose they are.
    """
    output = data_dir / inside
    if not exists(output):
        raise OutputMissing(f"neither {output} nor its index is there; submit the run again to create both")
    if not output.name.lower().endswith((".jsonl", ".jsonl.gz")):
        raise IndexMissing(
            f"the index of {output} is gone, and its records do not say which item of which run they are (only those "
            "of .jsonl and .jsonl.gz do); the file can be read as it is. To go on, load into a new output"
        )
    runs = runs_into(data_dir, inside)
    if not runs:
        raise IndexMissing(f"no run in {data_dir / 'runs'} goes into {output}, so there is nothing to go on with")
    rebuilt = Rebuilt(output, items={run.manifest.run: run.manifest.items for run in runs})
    try:
        folder = Path(tempfile.mkdtemp(prefix=".sheaf-rebuild-", dir=output.parent)) if apply else None
        try:
            _import(output, runs, rebuilt, folder)
            if folder is not None:
                _put_in_place(folder, rebuilt, runs)
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise disk_errors.unwritable(output, error) from error
    return rebuilt


def runs_into(data_dir: Path, inside: str) -> list[Run]:
    """The runs of the data folder that have this output, oldest first."""
    runs = []
    for name in runs_of(data_dir, data_dir / inside):
        try:
            run = Run.open(data_dir, name)
        except RunNotFound:
            continue  # a folder without a manifest: no run that could be continued
        if run.manifest.output == inside:
            runs.append(run)
    return runs


def _import(output: Path, runs: list[Run], rebuilt: Rebuilt, folder: Path | None) -> None:
    """Find whose record each line is; commit it to the new output in the folder, if there is one."""
    target = None if folder is None else Output.create(folder / output.name)
    groups: dict[str, list[Result]] = {}
    gathered = records = 0
    lists = [_ItemList(run) for run in runs]
    if target is not None:
        for run in runs:
            target.register_run(run.manifest.run, run.manifest.items, run.manifest.batch_size)
    for line, record in _records(output):
        owner = _owner(line, lists)
        if owner is None:
            rebuilt.unknown += 1
            continue
        name, index = owner
        rebuilt.found[name] += 1
        if target is not None:
            groups.setdefault(name, []).append(Done(index, record))
            gathered, records = gathered + len(record), records + 1
            if gathered >= _COMMIT_BYTES or records >= _COMMIT_RECORDS:
                target.commit(groups, worker="sheaf repair", token=0)
                groups, gathered, records = {}, 0, 0
    if target is not None:
        target.commit(groups, worker="sheaf repair", token=0)
        target.close()


def _owner(line: bytes, lists: list[_ItemList]) -> tuple[str, int] | None:
    """Return the run and item whose record a line is: those of the oldest run that it fits and that has it not yet."""
    try:
        value = json.loads(line)
        index, text = int(value["index"]), value.get("item", value.get("url"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    for items in lists:
        if items.text(index) == text and items.seen.add(index, index + 1) == 0:
            return items.run, index
    return None


class _ItemList:
    """A run's items by index; neighbours are read together."""

    def __init__(self, run: Run) -> None:
        self.run = run.manifest.run
        #: Items of which a record was found.
        self.seen = Bitmap(run.manifest.items)
        self._run = run
        self._block = functools.lru_cache(maxsize=64)(self._read)

    def text(self, index: int) -> str | None:
        if not 0 <= index < self._run.manifest.items:
            return None
        return self._block(index // _ITEMS)[index % _ITEMS]

    def _read(self, number: int) -> list[str]:
        first = number * _ITEMS
        count = min(_ITEMS, self._run.manifest.items - first)
        return [item.text for item in self._run.items(Batch(self.run, 0, first, count))]


def _records(output: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield each whole line and the record it makes. What cannot be read any more ends it."""
    compressed = output.name.lower().endswith(".gz")
    with gzip.open(output) if compressed else open(output, "rb") as source:
        try:
            for line in source:
                if line.endswith(b"\n"):
                    yield line, igzip_lib.compress(line, 1, igzip_lib.COMP_GZIP) if compressed else line
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return


def _put_in_place(folder: Path, rebuilt: Rebuilt, runs: list[Run]) -> None:
    output = rebuilt.output
    index = Index(output, 0.0)
    if exists(index.path):
        raise IndexMissing(f"{index.path} has come back meanwhile; nothing was changed. Repair again")
    # Left by the index that is gone; SQLite would take them for the new one's.
    for suffix in ("-wal", "-shm"):
        index.path.with_name(f"{index.path.name}{suffix}").unlink(missing_ok=True)
    # A second name for the old file, until the new one takes the first: whenever this is killed, there is an output.
    rebuilt.aside = free_name(output)
    os.link(output, rebuilt.aside)
    sync_folder(output.parent)
    # The index last: until it is there, no writer touches the file.
    for name in (output.name, f"{index.path.name}-wal", index.path.name):
        if exists(folder / name):
            (folder / name).rename(output.with_name(name))
    # Without an index no run could be marked as finished; from now on it shows what is missing.
    for run in runs:
        if rebuilt.found[run.manifest.run] < run.manifest.items:
            run.reopen()
    sync_folder(output.parent)
