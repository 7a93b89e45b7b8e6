"""Which version of its task a run is made with: the digests of the task's files, and whether they are still there.

    runs/<id>/run.json        `files`: the version that the run was submitted with
    runs/<id>/versions.jsonl  versions that it was switched to later, one per line; the last one is in force

A run is never made by two versions unless a person says so: while the files are others, its batches are paused.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sheaf.core.errors import TaskChanged
from sheaf.core.files import NotReadable, NotThere, exists, read_file
from sheaf.run.manifest import damaged
from sheaf.run.run import Run, sync_folder
from sheaf.tasks import module_files

_FILE = "versions.jsonl"
#: Path of a `versions.jsonl` -> (its state, the version in force), so that a batch costs a `stat`.
_known: dict[str, tuple[tuple[int, int], Mapping[str, str]]] = {}


class Version(NamedTuple):
    """One version that a run has used."""

    #: The first digits of the digest over all files; equal for equal files.
    name: str
    files: Mapping[str, str]
    #: When the run began to use it, ISO 8601 UTC.
    since: str


def version_name(digests: Mapping[str, str]) -> str:
    """A short name for a version. Empty for a task without files of the user's."""
    if not digests:
        return ""
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()[:12]


def versions(run: Run) -> list[Version]:
    """The versions that a run has used, in order; the last one is in force. None for a task without files."""
    first = run.manifest.spec.files
    found = [Version(version_name(first), first, run.manifest.created)] if first else []
    later = _lines(run.folder / _FILE, run.manifest.run)
    return found + [Version(version_name(line["files"]), line["files"], line["since"]) for line in later]


def files_in_force(run: Run) -> Mapping[str, str]:
    """The files, with their digests, that the run's items are to be done with now. Cheap enough for each batch."""
    path = run.folder / _FILE
    try:
        found = os.stat(path)  # noqa: PTH116  per batch: a Path would cost more than the call
    except FileNotFoundError:
        return run.manifest.spec.files
    except OSError as error:
        raise damaged(run.manifest.run, run.folder, _FILE, f"cannot be read ({error.strerror})") from error
    state = (found.st_mtime_ns, found.st_size)
    known = _known.get(str(path))
    if known is None or known[0] != state:
        lines = _lines(path, run.manifest.run)
        known = (state, lines[-1]["files"] if lines else run.manifest.spec.files)
        _known[str(path)] = known
    return known[1]


def record_version(run: Run, digests: Mapping[str, str]) -> None:
    """Have the run go on with this version (`TaskSpec.files`), if it does not yet; survives a power cut."""
    if dict(files_in_force(run)) == dict(digests):
        return
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with open(run.folder / _FILE, "a", encoding="ascii") as target:
        target.write(json.dumps({"since": since, "files": dict(digests)}) + "\n")
        target.flush()
        os.fsync(target.fileno())
    sync_folder(run.folder)


def check(run: Run, tasks_dir: Path) -> None:
    """Raise TaskChanged if the task's files are not those of the version in force. Cheap enough for each batch."""
    wanted = files_in_force(run)
    if not wanted:
        return
    folder = tasks_dir.resolve()
    differing = module_files.differing(folder, wanted)
    if not differing:
        return
    missing = [file for file in differing if not exists(folder / file)]
    raise TaskChanged(_missing(run, folder, missing) if missing else _changed(run, folder, differing, wanted))


def _missing(run: Run, folder: Path, files: Sequence[str]) -> str:
    more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
    return (
        f"{folder / files[0]}{more} does not exist, and run {run.manifest.run} was submitted with it. Workers look in "
        f"{folder}, as was set when `sheaf up` or `docker compose up` was called: if you submitted from another tasks "
        "folder, start the workers with that one (SHEAF_TASKS_DIR, or SHEAF_TASKS with containers); if the file was "
        "removed, restore it"
    )


def _changed(run: Run, folder: Path, files: Sequence[str], wanted: Mapping[str, str]) -> str:
    name = run.manifest.run
    others = f" and {len(files) - 1} more have changed" if len(files) > 1 else " has changed"
    found = f"{folder / files[0]}{others} since run {name} was submitted (version {version_name(wanted)}), and one run "
    if run.manifest.session is not None:
        return f"{found}of a program's calls is not made by two versions; put the file back, or start the program again"
    return (
        f"{found}never mixes two versions; restore the file, or continue with the present one: "
        f"sheaf retry {name}, or cancel the run and submit it again"
    )


def _lines(path: Path, run: str) -> list[dict[str, Any]]:
    """The whole lines of the file; the start of one that a killed writer left is not one."""
    try:
        lines = read_file(path).splitlines(keepends=True)
        return [_version(line) for line in lines if line.endswith(b"\n")]
    except NotThere:
        return []
    except NotReadable as error:
        raise damaged(run, path.parent, _FILE, str(error)) from error


def _version(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"has a line that is not valid JSON ({error})") from error
    texts = [found.get("since"), *found["files"], *found["files"].values()] if _has_files(found) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise NotReadable("has a line that is not a version of a task")
    return dict(found)


def _has_files(found: object) -> bool:
    return isinstance(found, dict) and isinstance(found.get("files"), dict)
