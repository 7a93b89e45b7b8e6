"""A run on the volume: its manifest and its items, in `runs/<id>/`. What must be done is written here, once.

    runs/<id>/run.json        the manifest
    runs/<id>/items           one item per line, UTF-8
    runs/<id>/items.offsets   where every 16th item's line starts (unsigned 64-bit, little-endian)
    runs/<id>/rejected.jsonl  input lines that could not be used, with line number and reason
    runs/<id>/finished        exists when every item is in the output or among the failures
    runs/<id>/cancelled       exists when a person stopped the run; the same submission resumes it
    runs/<id>/moved           exists when its output was put aside for another one's sake: where it is now

The items of a run over a range of numbers are in no file: the manifest holds the range, whatever its length.
A run that is still being written is `runs/.<id>`, so whoever finds `runs/<id>` finds it whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sheaf.batch import Batch, Item
from sheaf.errors import RunNotFound
from sheaf.items import ItemWriter, ListDamaged, read_items
from sheaf.numbers import Numbers

#: The manifest's version; a reader refuses a newer one.
MANIFEST_VERSION = 1
#: Programs' runs lie in this folder of the data folder, by session; their names begin with the session's.
SESSIONS = "sessions"
SESSION_PREFIX = "session-"
#: The file that names the place of an output that was put aside.
_MOVED = "moved"
#: Items that are read at once when all are, and their bytes.
_READ_ITEMS, _READ_BYTES = 16_384, 16 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run is. Written once; never changed."""

    #: The run's name: the moment of its submission (UTC, to 1/65536 s) and four random hex digits. Sorts by age.
    run: str
    #: `load`, or the user's `module:function`.
    task: str
    #: The task's options, as JSON.
    options: Mapping[str, Any]
    #: The output's path inside the data folder.
    output: str
    #: How many items.
    items: int
    #: Items per batch; the last batch may be shorter.
    batch_size: int
    #: Equal for two submissions of the same task, options, items and output.
    fingerprint: str
    #: When it was submitted, ISO 8601 UTC.
    created: str
    #: Names of the input files, for people.
    source: str = ""
    #: Seconds after which a pool gives up on one item; None: never.
    item_timeout_s: float | None = None
    #: How often an item whose process died is tried.
    attempts: int = 3
    #: MiB that a pool's child may weigh while it works on this run's items; 0: no limit.
    memory_mb: int = 0
    #: SHA-256 of the files under the tasks folder that the task is made of, by their path there.
    files: Mapping[str, str] = field(default_factory=dict)
    #: Input lines that were rejected, and those that were left out as duplicates.
    rejected: int = 0
    duplicates: int = 0
    #: The items are these numbers (start, stop, step, as of `range`), and there is no file of them. None: there is one.
    numbers: tuple[int, int, int] | None = None
    version: int = MANIFEST_VERSION

    @property
    def batches(self) -> int:
        return -(-self.items // self.batch_size)

    def batch(self, number: int) -> Batch:
        first = number * self.batch_size
        return Batch(self.run, number, first, min(self.batch_size, self.items - first))

    def batch_number(self, index: int) -> int:
        """The number of the batch that holds the item."""
        return index // self.batch_size


class Run:
    """A run that lies whole on the volume. Cheap to open: the manifest is read, the items are not."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, data_dir: Path, run: str) -> Self:
        """Raises RunNotFound if there is no such run, or a newer Sheaf wrote it."""
        folder = run_folder(data_dir, run)
        try:
            values = json.loads((folder / "run.json").read_text())
        except FileNotFoundError as error:
            raise RunNotFound(f"no run {run!r} in {data_dir}; `sheaf status` lists them") from error
        if values.get("version", 0) > MANIFEST_VERSION:
            raise RunNotFound(
                f"run {run!r} was written by a newer Sheaf (manifest version {values['version']}); update this one"
            )
        known = {field.name for field in dataclasses.fields(Manifest)}
        if values.get("numbers") is not None:
            values["numbers"] = tuple(values["numbers"])
        manifest = Manifest(**{key: value for key, value in values.items() if key in known})
        return cls(folder, manifest).with_moved_output()

    def with_moved_output(self) -> Self:
        """The run with its output where it is now, if it was put aside."""
        try:
            output = (self.folder / _MOVED).read_text().strip()
        except FileNotFoundError:
            return self
        return type(self)(self.folder, dataclasses.replace(self.manifest, output=output)) if output else self

    def move_output(self, output: str) -> None:
        """Note where the output is from now on, as a path inside the data folder; survives a power cut."""
        draft = self.folder / f".{_MOVED}"
        with open(draft, "w") as target:
            target.write(f"{output}\n")
            target.flush()
            os.fsync(target.fileno())
        draft.rename(self.folder / _MOVED)
        sync_folder(self.folder)

    @property
    def finished(self) -> bool:
        return (self.folder / "finished").exists()

    @property
    def cancelled(self) -> bool:
        return (self.folder / "cancelled").exists()

    def mark_finished(self) -> None:
        (self.folder / "finished").touch()

    def reopen(self) -> None:
        """Take the mark away: items that were done have to be done again."""
        (self.folder / "finished").unlink(missing_ok=True)

    def cancel(self) -> None:
        (self.folder / "cancelled").touch()

    def resume(self) -> None:
        (self.folder / "cancelled").unlink(missing_ok=True)

    def items(self, batch: Batch) -> list[Item]:
        """Read one batch's items; costs one seek, whatever the run's length."""
        return list(map(Item, *self.read(batch)))

    def read(self, batch: Batch) -> tuple[range, Sequence[str]]:
        """Return the indexes and the texts of a batch's items: one read, one decode, one split for all of them;
        of numbers, the range of them.

        Raises RunNotFound if the list is gone, or shorter than the manifest says.
        """
        indexes = range(batch.first, batch.end)
        numbers = self.manifest.numbers
        if numbers is not None:
            return indexes, Numbers(range(*numbers)[batch.first : batch.end])
        try:
            return indexes, read_items(self.folder, batch.first, batch.count)
        except ListDamaged as error:
            raise RunNotFound(
                f"the list of run {self.manifest.run} ({self.folder / 'items'}) {error}, though its manifest counts "
                f"{self.manifest.items:,} items; bring the folder back from a copy, or submit the run again"
            ) from error

    def all_items(self) -> Iterator[Item]:
        step = self._items_at_once()
        for first in range(0, self.manifest.items, step):
            count = min(step, self.manifest.items - first)
            yield from self.items(Batch(self.manifest.run, 0, first, count))

    def _items_at_once(self) -> int:
        """So many items that they are no more than a few MiB."""
        try:
            size = (self.folder / "items").stat().st_size
        except FileNotFoundError:
            return _READ_ITEMS
        return max(1, min(_READ_ITEMS, _READ_BYTES * self.manifest.items // max(1, size)))


def run_folder(data_dir: Path, run: str) -> Path:
    """Where a run lies: in `runs/`, or with its session if it is a segment of one (`sheaf/sessions.py`)."""
    if run.startswith(SESSION_PREFIX):
        session, _, number = run.rpartition("-")
        return data_dir / SESSIONS / session / "runs" / number
    return data_dir / "runs" / run


def list_runs(data_dir: Path) -> list[str]:
    """The names of all whole runs that people have submitted, oldest first."""
    folder = data_dir / "runs"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_dir())


def is_finished(data_dir: Path, run: str) -> bool:
    """Like `Run.finished`, without opening the run."""
    return (run_folder(data_dir, run) / "finished").exists()


class RunWriter:
    """Write a run's items one by one, then publish it in one step. A writer that dies leaves nothing that is found."""

    def __init__(self, data_dir: Path, run: str, *, durable: bool = True) -> None:
        """`durable` False: nothing is synced, for a run that is of no use to anybody after a power cut."""
        self._final = run_folder(data_dir, run)
        self._durable = durable
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
        """Make the run visible; when this returns, it survives a power cut (unless it is not to be durable)."""
        self._list.close(sync=self._durable)
        if manifest.numbers is not None:
            for name in ("items", "items.offsets"):
                (self.folder / name).unlink()
        with open(self.folder / "run.json", "w") as target:
            json.dump(dataclasses.asdict(manifest), target, indent=1, default=dict)
            if self._durable:
                target.flush()
                os.fsync(target.fileno())
        if self._durable:
            sync_folder(self.folder)
        self.folder.rename(self._final)
        if self._durable:
            sync_folder(self._final.parent)
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
