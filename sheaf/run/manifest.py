"""A run's manifest: what is written into `run.json`, and the one place where it is read and checked.

The file ends with a checksum over everything before it, so that a changed byte is noticed; what stands behind the
checksum is not looked at. Manifests of Sheaf before checksums have none, and are checked field by field all the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash

from sheaf.core.errors import RunDamaged, RunNotFound
from sheaf.core.files import NotReadable, NotThere, is_dir, read_file
from sheaf.run.items import Batch

#: The manifest's version; a reader refuses a newer one.
MANIFEST_VERSION = 1
#: Programs' runs lie in this folder of the data folder, by session; their names begin with the session's.
SESSIONS = "sessions"
SESSION_PREFIX = "session-"

_FILE = "run.json"
_CHECKSUM = "checksum"
#: Letters, digits and dashes, as in the ids of batches.
_RUN_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
#: What SQLite and a bit for each item of a batch can bear.
_MOST_ITEMS, _LARGEST_BATCH = 2**63 - 1, 2**24
#: Seconds, attempts and MiB beyond which whoever adds to them would fail.
_LONGEST_S, _MOST_ATTEMPTS, _MOST_MB = 1e9, 2**31, 2**40
#: Folders of the data folder in which no output lies; those of sessions hold their own.
_OURS = ("runs", ".sheaf")


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
    #: Bytes of the list, and the checksums of its pages (`sheaf/run/item_list.py`); -1: it has none.
    list_bytes: int = -1
    list_sums: str = ""
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


_FIELDS = {found.name: found for found in dataclasses.fields(Manifest)}
_encode = json.JSONEncoder(separators=(",", ":"), default=dict).encode


def is_run_name(name: str) -> bool:
    return len(name) <= 150 and _RUN_NAME.fullmatch(name) is not None


def write_manifest(folder: Path, manifest: Manifest, *, sync: bool) -> None:
    values = {name: getattr(manifest, name) for name in _FIELDS}
    lines = [f"{_encode(name)}: {_encode(value)}" for name, value in (values | {_CHECKSUM: _checksum(values)}).items()]
    with open(folder / _FILE, "w", encoding="ascii") as target:
        target.write("{\n " + ",\n ".join(lines) + "\n}\n")
        if sync:
            target.flush()
            os.fsync(target.fileno())


def read_manifest(folder: Path, run: str) -> Manifest:
    """Raises RunNotFound if there is no such folder, RunDamaged if what lies in it is not the run's manifest."""
    try:
        return _parse(read_file(folder / _FILE), run)
    except NotThere as error:
        # A session's runs go one by one as they are done; while one goes, its folder may be the last that is there.
        if run.startswith(SESSION_PREFIX) or not is_dir(folder):
            raise RunNotFound(f"no run {run!r} in {folder.parent}; `sheaf status` lists them") from error
        raise damaged(run, folder, _FILE, str(error)) from error
    except NotReadable as error:
        raise damaged(run, folder, _FILE, str(error)) from error


def moved_text(output: str) -> str:
    """What the file `moved` holds: where a run's output is now, and a checksum of it."""
    return f"{output}\n{_checksum({'output': output})}\n"


def read_moved(path: Path, run: str) -> str | None:
    """Where the run's output is now; None if it was never moved. Raises NotReadable."""
    try:
        text = os.fsdecode(read_file(path))
    except NotThere:
        return None
    output = text.removesuffix("\n").rpartition("\n")[0]
    if text != moved_text(output):
        raise NotReadable("is not what was written (its checksum is another)")
    _check_output(output, run)
    return output


def damaged(run: str, folder: Path, name: str, what: str) -> RunDamaged:
    """The error that says what is wrong with a file of a run, and what to do about it."""
    return RunDamaged(
        f"run {run} is set aside: its file {folder / name} {what}, so it cannot be trusted to say what must be done. "
        "Bring the file back as it was, and the run goes on by itself; "
        f"or move the folder {folder} away, and submit the list again"
    )


def _parse(data: bytes, run: str) -> Manifest:
    try:
        values = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise NotReadable(f"is not UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"is not valid JSON ({error or 'nested too deeply'})" if data else "is empty") from error
    if not isinstance(values, dict):
        raise NotReadable(f"holds {_kind(values)} instead of an object")
    version = values.get("version", MANIFEST_VERSION)
    if _is_count(version) and version > MANIFEST_VERSION:
        raise NotReadable(f"was written by a newer Sheaf (manifest version {version}), than which this one is older")
    _check_sum(values)
    if values.get("numbers") is not None and isinstance(values["numbers"], list):
        values["numbers"] = tuple(values["numbers"])
    for name, found in _FIELDS.items():
        if name not in values:
            if found.default is dataclasses.MISSING and found.default_factory is dataclasses.MISSING:
                raise NotReadable(f"has no field {name!r}")
        elif not _RULES[name][0](values[name]):
            raise NotReadable(f"says {name} is {_shown(values[name])}, which should be {_RULES[name][1]}")
    manifest = Manifest(**{name: value for name, value in values.items() if name in _FIELDS})
    _check_together(manifest, run)
    return manifest


def _check_sum(values: dict[str, Any]) -> None:
    if _CHECKSUM in values:
        before = dict(list(values.items())[: list(values).index(_CHECKSUM)])
        if values[_CHECKSUM] != _checksum(before):
            raise NotReadable("is not what was written (its checksum is another)")
    elif "list_sums" in values:
        # Whoever wrote that wrote a checksum, too.
        raise NotReadable("is not what was written (its checksum is gone)")


def _checksum(values: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(_encode(values).encode())


def _check_together(manifest: Manifest, run: str) -> None:
    """What fields say about each other, and about the place where the file lies."""
    if manifest.run != run:
        raise NotReadable(f"is that of another run ({_shown(manifest.run)})")
    _check_output(manifest.output, run)
    if manifest.numbers is not None and _length(*manifest.numbers) != manifest.items:
        raise NotReadable(f"counts {manifest.items:,} items, but has the numbers {manifest.numbers}")


def _check_output(output: str, run: str) -> None:
    parts = PurePosixPath(output).parts
    if output.startswith("/") or ".." in parts or not parts or "\0" in output:
        raise NotReadable(f"names an output outside the data folder ({_shown(output)})")
    if parts[0] in _OURS or (parts[0] == SESSIONS) != run.startswith(SESSION_PREFIX):
        raise NotReadable(f"names an output where none of this run can lie ({_shown(output)})")


def _length(start: int, stop: int, step: int) -> int:
    return max(0, -(-(stop - start) // step))


# --- what each field may be ---


def _is_text(value: object) -> bool:
    """A text that can be written to a terminal, a database and a file's name; names may hold odd bytes of those."""
    if not isinstance(value, str):
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_count(value: object, least: int = 0, most: int = _MOST_ITEMS) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_seconds(value: object) -> bool:
    if value is None:
        return True
    # Which is false of what is no number, too.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LONGEST_S


def _is_numbers(value: object) -> bool:
    if value is None:
        return True
    whole = isinstance(value, tuple) and all(isinstance(part, int) and not isinstance(part, bool) for part in value)
    return whole and len(value) == 3 and value[2] != 0  # type: ignore[arg-type, index]


def _is_files(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_text, value.values()))


_TEXT = (_is_text, "a text")
_COUNT = (_is_count, "a whole number from 0 on")
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "run": _TEXT,
    "task": (lambda value: _is_text(value) and value != "", "the name of a task"),
    "options": (lambda value: isinstance(value, dict), "an object"),
    "output": _TEXT,
    "items": _COUNT,
    "batch_size": (lambda value: _is_count(value, 1, _LARGEST_BATCH), f"a whole number from 1 to {_LARGEST_BATCH:,}"),
    "fingerprint": _TEXT,
    "created": _TEXT,
    "source": _TEXT,
    "item_timeout_s": (_is_seconds, "null or a positive number of seconds"),
    "attempts": (lambda value: _is_count(value, 1, _MOST_ATTEMPTS), "a whole number from 1 on"),
    "memory_mb": (lambda value: _is_count(value, 0, _MOST_MB), "a whole number from 0 on"),
    "files": (_is_files, "an object of texts"),
    "rejected": _COUNT,
    "duplicates": _COUNT,
    "numbers": (_is_numbers, "null or three whole numbers, the last of them not 0"),
    "list_bytes": (lambda value: _is_count(value, -1), "a whole number from -1 on"),
    "list_sums": _TEXT,
    "version": (lambda value: _is_count(value, 0), "a whole number"),
}


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a truth value"}
    return kinds.get(type(value), "nothing")


def _shown(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
