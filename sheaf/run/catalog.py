"""What runs there are, by fingerprint and output, without opening each: `runs/.catalog`, made of their manifests.

A line per run: a checksum, and what its manifest says of it, or why it cannot be used. A reader adds what is
missing, so runs of any age are found, and a catalog that is gone or damaged is only slower. It is never believed: a run
that it points to is opened. A damaged manifest is opened again when its file is another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sheaf.core.errors import RunNotFound
from sheaf.core.files import NotReadable, read_file
from sheaf.run.run import Run, list_runs, run_folder

FILE = ".catalog"


class Entry(NamedTuple):
    """What is known of a run."""

    run: str
    #: None: its manifest cannot be read, so it may be anything.
    fingerprint: str | None
    output: str | None
    #: Why the manifest cannot be used, and which file that was: its inode, size and times.
    damage: str | None = None
    stamp: list[int] | None = None

    def goes_into(self, data_dir: Path, output: Path) -> bool:
        """Whether its output may be this one; `output` is resolved."""
        return self.output is None or (data_dir / self.output).resolve() == output

    def is_like(self, fingerprint: str) -> bool:
        """Whether it may be the same submission, of whatever version of its task."""
        return self.fingerprint is None or self.fingerprint.partition(".")[0] == fingerprint.partition(".")[0]


def catalog(data_dir: Path) -> list[Entry]:
    """An entry for each run that people have submitted, oldest first."""
    path = data_dir / "runs" / FILE
    names = list_runs(data_dir)
    known = _read(path)
    missing = {name: _look(data_dir, name) for name in names if not _holds(data_dir, known.get(name))}
    if new := [entry for entry in missing.values() if entry.output is not None or entry.stamp is not None]:
        _append(path, new)
    return [missing.get(name) or known[name] for name in names]


def runs_of(data_dir: Path, output: Path) -> Iterator[str]:
    """The names of the runs that may go into this output, oldest first."""
    wanted = output.resolve()
    answers: dict[str | None, bool] = {}
    for entry in catalog(data_dir):
        if entry.output not in answers:
            answers[entry.output] = entry.goes_into(data_dir, wanted)
        if answers[entry.output]:
            yield entry.run


def note_move(data_dir: Path, run: str, fingerprint: str, output: str) -> None:
    """The run's output has another place from now on."""
    _append(data_dir / "runs" / FILE, [Entry(run, fingerprint, output)])


def rewrite(data_dir: Path) -> None:
    """Leave out runs that are gone, after some were removed."""
    path = data_dir / "runs" / FILE
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    catalog(data_dir)


def _holds(data_dir: Path, entry: Entry | None) -> bool:
    """Whether what is known of a run is still so. A manifest that is well is never written again."""
    return entry is not None and (entry.damage is None or entry.stamp == _stamp(data_dir, entry.run))


def _look(data_dir: Path, name: str) -> Entry:
    stamp = _stamp(data_dir, name)
    try:
        manifest = Run.open(data_dir, name).manifest
    except RunNotFound as error:
        return Entry(name, None, None, str(error), stamp if _can_be_read(data_dir, name) else None)
    return Entry(name, manifest.fingerprint, manifest.output)


def _stamp(data_dir: Path, name: str) -> list[int] | None:
    try:
        found = os.stat(run_folder(data_dir, name) / "run.json")  # noqa: PTH116  for each damaged run, at each look
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _can_be_read(data_dir: Path, name: str) -> bool:
    """Whether it is the contents that are wrong: a disk that cannot be read may be able to the next time."""
    try:
        read_file(run_folder(data_dir, name) / "run.json")
    except NotReadable:
        return False
    return True


def _read(path: Path) -> dict[str, Entry]:
    try:
        lines = read_file(path).splitlines()
    except NotReadable:
        return {}
    known: dict[str, Entry] = {}
    for line in lines:
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            entry = _entry(text)
            if entry is not None:
                # Of a run whose output was moved, the last line is true.
                known[entry.run] = entry
    return known


def _entry(text: bytes) -> Entry | None:
    """None if it is not one of ours; the checksum only says that it is as it was written."""
    try:
        entry = Entry(*json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return None
    texts = isinstance(entry.run, str) and all(value is None or isinstance(value, str) for value in entry[1:4])
    stamp = entry.stamp is None or (
        isinstance(entry.stamp, list) and all(isinstance(part, int) for part in entry.stamp)
    )
    return entry if texts and stamp else None


def _append(path: Path, entries: list[Entry]) -> None:
    """Add lines in one write each; who may not write looks again the next time."""
    lines = [json.dumps(entry, ensure_ascii=True).encode() for entry in entries]
    text = b"".join(b"\n%08x %s\n" % (zlib.crc32(line), line) for line in lines)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o664)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)
