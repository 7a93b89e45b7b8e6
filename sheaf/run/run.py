"""A run on the volume: its manifest and its items, in `runs/<id>/`. What must be done is written here, once.

    runs/<id>/run.json        the manifest
    runs/<id>/items           one item per line, UTF-8
    runs/<id>/items.offsets   where every 16th item's line starts (unsigned 64-bit, little-endian)
    runs/<id>/items.sums      the checksums of both, of a long list; those of a short one are in the manifest
    runs/<id>/rejected.jsonl  input lines that could not be used, with line number and reason
    runs/<id>/finished        exists when every item is in the output or among the failures
    runs/<id>/cancelled       exists when a person stopped the run; the same submission resumes it
    runs/<id>/moved           exists when its output was put aside for another one's sake: where it is now

The items of a run over a range of numbers are in no file: the manifest holds the range, whatever its length.
A run that is still being written is `runs/.<id>`, so `runs/<id>` is always whole. What is damaged later is
noticed when it is read (RunDamaged): that run is set aside, until its files are back as they were.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from sheaf.core.errors import RunNotFound
from sheaf.core.file_locks import held
from sheaf.core.files import NotReadable, exists, is_dir, is_folder, is_there
from sheaf.core.page_checksums import FileDamaged
from sheaf.run.item_list import ItemList, ItemWriter
from sheaf.run.items import Batch, Item
from sheaf.run.manifest import (
    MANIFEST_VERSION,
    Manifest,
    damaged,
    is_run_name,
    moved_text,
    read_manifest,
    read_moved,
    write_manifest,
)
from sheaf.run.number_range import Numbers
from sheaf.run.sessions import SESSIONS, session_of

__all__ = [
    "MANIFEST_VERSION",
    "Manifest",
    "Run",
    "RunWriter",
    "is_cancelled",
    "is_finished",
    "list_runs",
    "list_strangers",
    "run_folder",
    "sync_folder",
]

#: A file among the runs that is touched when one of them is opened again: a cache of finished runs is refreshed then.
REOPENED = ".reopened"
#: The file that names the place of an output that was put aside.
_MOVED = "moved"
#: Items that are read at once when all are, and their bytes.
_READ_ITEMS, _READ_BYTES = 16_384, 16 << 20


class Run:
    """A published run on the volume. Cheap to open: the manifest is read, the items are not."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._list = ItemList(folder, manifest.items, manifest.list_bytes, manifest.list_sums)

    @classmethod
    def open(cls, data_dir: Path, run: str) -> Self:
        """Raises RunNotFound if there is no such run, RunDamaged if its manifest is not what was written."""
        folder = run_folder(data_dir, run)
        return cls(folder, read_manifest(folder, run)).with_moved_output()

    def with_moved_output(self) -> Self:
        """The run with its output where it is now, if it was put aside. Raises RunDamaged if that is unknown."""
        run = self.manifest.run
        try:
            output = read_moved(self.folder / _MOVED, self.manifest)
        except NotReadable as error:
            raise damaged(run, self.folder, _MOVED, str(error)) from error
        return type(self)(self.folder, dataclasses.replace(self.manifest, output=output)) if output else self

    def move_output(self, output: str) -> None:
        """Note where the output is from now on, as a path inside the data folder; survives a power cut."""
        draft = self.folder / f".{_MOVED}"
        with open(draft, "wb") as target:
            target.write(os.fsencode(moved_text(output)))
            target.flush()
            os.fsync(target.fileno())
        draft.rename(self.folder / _MOVED)
        sync_folder(self.folder)

    @property
    def finished(self) -> bool:
        return _is_marked(self.folder, self.manifest.run, "finished")

    @property
    def cancelled(self) -> bool:
        return _is_marked(self.folder, self.manifest.run, "cancelled")

    def mark_finished(self) -> None:
        self._set_mark("finished")

    def reopen(self) -> None:
        """Take the mark away: items that were done have to be done again."""
        self._remove_mark("finished")

    def cancel(self) -> None:
        self._set_mark("cancelled")

    def resume(self) -> None:
        self._remove_mark("cancelled")

    def _set_mark(self, name: str) -> None:
        (self.folder / name).touch()
        self._sync_marks()

    def _remove_mark(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self._sync_marks()
        with contextlib.suppress(OSError):
            (self.folder.parent / REOPENED).touch()

    def _sync_marks(self) -> None:
        """Have what was just changed survive a power cut; even if nothing was, for one who did may have been killed.

        A segment of a session ends with its program, and is not synced.
        """
        if self.manifest.durable:
            sync_folder(self.folder)

    def items(self, batch: Batch) -> list[Item]:
        """Read one batch's items; costs one seek, whatever the run's length."""
        return list(map(Item, *self.read(batch)))

    def read(self, batch: Batch) -> tuple[range, Sequence[str]]:
        """Return the indexes and the texts of a batch's items: one read, one decode, one split for all of them;
        of numbers, the range of them.

        Raises RunDamaged if they are not those that were written.
        """
        indexes = range(batch.first, batch.end)
        numbers = self.manifest.numbers
        if numbers is not None:
            return indexes, Numbers(range(*numbers)[batch.first : batch.end])
        try:
            return indexes, self._list.read(batch.first, batch.count)
        except FileDamaged as error:
            if not exists(self.folder):
                raise RunNotFound(f"run {self.manifest.run} was removed") from error
            raise damaged(self.manifest.run, self.folder, error.name, error.what) from error

    def check_list(self) -> None:
        """Read all of the list. Raises RunDamaged if it is not what was written."""
        if self.manifest.numbers is None:
            try:
                self._list.check()
            except FileDamaged as error:
                raise damaged(self.manifest.run, self.folder, error.name, error.what) from error

    def all_items(self) -> Iterator[Item]:
        step = self._items_at_once()
        for first in range(0, self.manifest.items, step):
            count = min(step, self.manifest.items - first)
            yield from self.items(Batch(self.manifest.run, 0, first, count))

    def _items_at_once(self) -> int:
        """As many items as fit into a few MiB."""
        return max(1, min(_READ_ITEMS, _READ_BYTES * self.manifest.items // max(1, self._list.bytes)))


def run_folder(data_dir: Path, run: str) -> Path:
    """Where a run is: in `runs/`, or with its session if it is a segment of one (`sheaf/run/sessions.py`)."""
    session = session_of(run)
    if session is not None:
        return data_dir / SESSIONS / session / "runs" / run.rpartition("-")[2]
    return data_dir / "runs" / run


@contextlib.contextmanager
def submission_lock(data_dir: Path) -> Iterator[None]:
    """Let one process at a time decide whether a run is already there, publish it, or remove one that is over."""
    runs = data_dir / "runs"
    runs.mkdir(exist_ok=True)
    with held(os.open(runs / ".lock", os.O_RDWR | os.O_CREAT, 0o664)):
        yield


def list_runs(data_dir: Path) -> list[str]:
    """The names of all whole runs that people have submitted, oldest first."""
    folder = data_dir / "runs"
    if not is_dir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_run_name(entry.name) and is_folder(entry))


def list_strangers(data_dir: Path) -> list[Path]:
    """What is among the submitted runs but cannot be one."""
    folder = data_dir / "runs"
    if not is_dir(folder):
        return []
    with os.scandir(folder) as entries:
        strangers = [entry.name for entry in entries if not (is_run_name(entry.name) and is_folder(entry))]
    return sorted(folder / name for name in strangers if not name.startswith("."))


def is_finished(data_dir: Path, run: str) -> bool:
    """Like `Run.finished`, without opening the run."""
    return _is_marked(run_folder(data_dir, run), run, "finished")


def is_cancelled(data_dir: Path, run: str) -> bool:
    """Like `Run.cancelled`, without opening the run."""
    return _is_marked(run_folder(data_dir, run), run, "cancelled")


def _is_marked(folder: Path, run: str, mark: str) -> bool:
    try:
        return is_there(folder / mark)
    except NotReadable as error:
        raise damaged(run, folder, mark, str(error)) from error


class RunWriter:
    """Write a run's items one by one, then publish it in one step. A writer that dies leaves nothing that is found."""

    def __init__(self, data_dir: Path, run: str) -> None:
        self._final = run_folder(data_dir, run)
        self.folder = self._final.with_name(f".{self._final.name}")
        self.folder.mkdir(parents=True)
        self._list = ItemWriter(self.folder)
        self.items = 0
        self.numbers: tuple[int, int, int] | None = None

    def add(self, text: str) -> None:
        """Append an item. `text` must hold no newline."""
        self.add_all((text,))

    def add_all(self, texts: Sequence[str]) -> None:
        """Append items, which must hold no newlines. Many at once cost a fraction of as many calls."""
        self._list.add(texts)
        self.items = self._list.count

    @property
    def bytes(self) -> int:
        """How many bytes the items have, with their lines' ends."""
        return self._list.bytes

    def set_numbers(self, numbers: range) -> None:
        """Make the numbers the run's items, instead of lines; costs nothing, whatever their count."""
        self.numbers = (numbers.start, numbers.stop, numbers.step)
        self._list.digest.update(f"range{self.numbers}".encode())
        self.items = len(numbers)

    @property
    def digest(self) -> str:
        """SHA-256 of the items written so far, in hex: part of the run's fingerprint."""
        return self._list.digest.hexdigest()

    def publish(self, manifest: Manifest) -> Run:
        """Make the run visible; when this returns, it survives a power cut (if its manifest says `durable`)."""
        size, sums = self._list.seal(sync=manifest.durable)
        if manifest.numbers is None:
            manifest = dataclasses.replace(manifest, list_bytes=size, list_sums=sums)
        else:
            for name in ("items", "items.offsets"):
                (self.folder / name).unlink()
        write_manifest(self.folder, manifest, sync=manifest.durable)
        if manifest.durable:
            sync_folder(self.folder)
        self.folder.rename(self._final)
        if manifest.durable:
            sync_folders(self._final.parent)
        return Run(self._final, manifest)

    def discard(self) -> None:
        self._list.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(folder: Path) -> None:
    """The same for a folder and all those above it on the same disk: one of them may have been made just now."""
    sync_folder(folder)
    device = folder.stat().st_dev
    for parent in folder.resolve().parents:
        try:
            if parent.stat().st_dev != device:
                return
            sync_folder(parent)
        except PermissionError:
            return  # not ours to read, so it was not made by us
