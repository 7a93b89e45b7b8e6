"""Finds and removes what is no longer needed in a data folder. Never an output, never anything unfinished.

A finished run's folder holds its list, for `sheaf retry` and for knowing the same submission again. Its output stays,
with its index: `get`, `export`, `verify` and `failures` go on without the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sheaf.core.errors import OutputError, RunNotFound
from sheaf.core.file_locks import lock_folder
from sheaf.core.files import exists, is_dir, is_symlink
from sheaf.output.output import Output
from sheaf.run import catalog, sessions
from sheaf.run.run import Run, list_runs, submission_lock
from sheaf.run.sessions import SESSIONS

#: What is put aside beside an output: bytes that were not ours, and damaged outputs that were repaired.
_ASIDE = (".stray-", ".damaged-")


@dataclass(frozen=True, slots=True)
class Waste:
    """Something that can go."""

    path: Path
    #: What it is, for a person.
    what: str
    #: Bytes that it takes on the disk.
    size: int
    #: The run, if it is one's folder.
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to go, beyond the leftovers of dead programs."""

    #: Seconds since a run was finished or cancelled, or something was put aside, at least.
    older_than_s: float
    #: Runs with failed items too: `sheaf retry` cannot do these again then.
    failed: bool = False
    #: Cancelled runs too: they cannot be taken up again then.
    cancelled: bool = False
    #: What was put aside beside outputs too.
    aside: bool = False


def find_waste(data_dir: Path, wanted: Wanted) -> Iterator[Waste]:
    """Everything that can go, as it is now."""
    before = time.time() - wanted.older_than_s
    for name in list_runs(data_dir):
        what = _over(data_dir, name, wanted, before)
        if what is not None:
            folder = data_dir / "runs" / name
            yield Waste(folder, what, _size(folder), name)
    for folder in _folders(data_dir / "runs"):
        if folder.name.startswith(".") and _is_nobodys(folder):
            yield Waste(folder, "a list that a producer was writing when it died", _size(folder))
    for folder in sessions.leftovers(data_dir):
        yield Waste(folder, "what a program left that was killed", _size(folder))
    if wanted.aside:
        yield from _aside(data_dir, before)


def remove(data_dir: Path, waste: Waste, wanted: Wanted) -> bool:
    """Remove it, if it still can go; False if not."""
    # Meanwhile no run is resumed or begun.
    with submission_lock(data_dir):
        if not _can_go(data_dir, waste, wanted):
            return False
        if waste.path.parent.name == SESSIONS:
            sessions.sweep(data_dir)
        elif is_dir(waste.path):
            # Under a hidden name half of it is never found, and the next producer removes the rest.
            going = waste.path.with_name(f".{waste.path.name.lstrip('.')}")
            waste.path.rename(going)
            shutil.rmtree(going, ignore_errors=True)
        else:
            waste.path.unlink(missing_ok=True)
    return not os.path.lexists(waste.path)


def _can_go(data_dir: Path, waste: Waste, wanted: Wanted) -> bool:
    """Whether it is still what it was when it was found."""
    if waste.run is not None:
        return _over(data_dir, waste.run, wanted, time.time() - wanted.older_than_s) is not None
    return waste.path.parent != data_dir / "runs" or _is_nobodys(waste.path)


def forget_removed(data_dir: Path) -> None:
    """After the last one was removed."""
    catalog.rewrite(data_dir)


def _over(data_dir: Path, name: str, wanted: Wanted, before: float) -> str | None:
    """What kind of run it is, if it can go. A damaged one is left for a person to look at."""
    try:
        run = Run.open(data_dir, name)
        finished, cancelled = run.finished, run.cancelled
        mark = run.folder / ("finished" if finished else "cancelled")
        if not (finished or (cancelled and wanted.cancelled)) or mark.stat().st_mtime > before:
            return None
        if not finished:
            return "a cancelled run"
        failed = _failed(data_dir / run.manifest.output, name, run.manifest.items)
    except (RunNotFound, OutputError, OSError):
        return None
    if failed and not wanted.failed:
        return None
    return "a finished run" + (f" with {failed:,} failed items" if failed else "")


def _failed(output: Path, run: str, items: int) -> int:
    """How many of its items failed; -1 if the output does not say that it is finished. Gone with its output: none."""
    if not exists(output):
        return 0
    opened = Output(output)
    try:
        progress = opened.reader.runs().get(run)
    finally:
        opened.close()
    if progress is None:
        return 0
    if progress.done + progress.failed != items:
        raise RunNotFound(f"run {run} is not finished")
    return progress.failed


def _aside(data_dir: Path, before: float) -> Iterator[Waste]:
    for folder, folders, names in os.walk(data_dir):
        if Path(folder) == data_dir:
            folders[:] = [name for name in folders if name not in ("runs", "programs", SESSIONS, ".sheaf")]
        for name in names:
            path = Path(folder, name)
            output = next((path.with_name(name.rpartition(mark)[0]) for mark in _ASIDE if mark in name), None)
            if output is None or not name.rpartition("-")[2].isdigit() or path.lstat().st_mtime > before:
                continue
            # Of ours it is only beside an index of ours; others may give their files such names, too.
            if exists(output.with_name(f"{output.name}.index")):
                yield Waste(path, "put aside when an output was repaired or cut", path.lstat().st_size)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if is_dir(path) and not is_symlink(path))
    except OSError:
        return []


def _is_nobodys(folder: Path) -> bool:
    """Whether no producer has it locked, as it does from the first moment to the last."""
    descriptor = lock_folder(folder)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _size(folder: Path) -> int:
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(Path(place, name)).st_blocks * 512
    return size
