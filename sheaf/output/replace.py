"""Put an output aside, so that a new one can begin in its place. Nothing of it is destroyed.

    pages.jsonl, pages.jsonl.index, …  ──►  pages.jsonl.replaced-1/pages.jsonl, …

It is a whole output in its folder: `sheaf verify` and `sheaf get` read it there. The file goes first, so that a crash
in between leaves an index without its file: nothing new begins in such a place, and putting it aside again moves the
rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from sheaf.core.errors import OutputError, RunDamaged, RunNotFound, UsageError
from sheaf.core.files import exists
from sheaf.output.index import errors as disk_errors
from sheaf.output.index.database import Index
from sheaf.run.catalog import note_move
from sheaf.run.run import Run, sync_folder

#: What belongs to an output beside its file, by suffix; the index last but for what SQLite keeps of it.
_SIDE_FILES = (".intent", ".index", ".index-wal", ".index-shm")
#: Seconds for which a commit in progress is waited for.
_FENCE_WAIT_S = 10.0


def set_aside(data_dir: Path, name: str, steps: Callable[[str], None] = lambda _: None) -> Path:
    """Move the output `name` with all that belongs to it into a folder beside it; return the folder.

    Its runs' manifests name the new place. Raises UsageError if one of them still writes into it, FenceTimeout while
    another process has the fence, OutputUnwritable for an error of the disk.
    """
    output = data_dir / name
    index = Index(output, _FENCE_WAIT_S)
    try:
        rows = index.begin().runs()
        runs = _open_runs(data_dir, [row.run for row in rows])
        for row in rows:
            if row.open > 0 and row.run in runs and not runs[row.run].cancelled:
                raise UsageError(
                    f"{output} cannot be replaced while run {row.run} writes into it; wait for its end "
                    f"(sheaf watch {row.run}), or stop it: sheaf cancel {row.run}"
                )
        folder = _folder(output)
        # Before the file is moved: a crash in between leaves runs whose output is not there yet; another call moves it.
        for found in runs.values():
            if found.manifest.output == name:
                place = str((folder / output.name).relative_to(data_dir))
                found.move_output(place)
                note_move(data_dir, found.manifest.run, found.manifest.fingerprint, place)
        steps("manifests")
        _move(output, folder, steps)
        return folder
    except OSError as error:
        raise disk_errors.unwritable(output, error) from error
    finally:
        with suppress(OutputError):
            index.roll_back()
        index.drop()


def _open_runs(data_dir: Path, names: Iterable[str]) -> dict[str, Run]:
    """Raises RunDamaged for one that cannot be changed: once it is whole again, it would write into the new output."""
    runs = {}
    for name in names:
        try:
            runs[name] = Run.open(data_dir, name)
        except RunDamaged:
            raise
        except RunNotFound:
            continue
    return runs


def open_run(data_dir: Path, name: str) -> Run | None:
    """The run; None if there is none of that name (any more), or it was registered and never published."""
    try:
        return Run.open(data_dir, name)
    except RunNotFound:
        return None


def _move(output: Path, folder: Path, steps: Callable[[str], None]) -> None:
    folder.mkdir(exist_ok=True)
    for name in (output.name, *(f"{output.name}{suffix}" for suffix in _SIDE_FILES)):
        with suppress(FileNotFoundError):
            output.with_name(name).rename(folder / name)
        steps(name)
    sync_folder(folder)
    sync_folder(output.parent)


def _folder(output: Path) -> Path:
    """The folder that an earlier, interrupted call has begun to fill, or the first that does not exist yet."""
    number = 1
    while os.path.lexists(folder := output.with_name(f"{output.name}.replaced-{number}")):
        if not exists(output) and not exists(folder / f"{output.name}.index"):
            return folder
        number += 1
    return folder
