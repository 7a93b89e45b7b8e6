"""A run's manifest: what is written into `run.json`, and the one place where it is read and checked.

The file ends with a checksum over everything before it, so that a changed byte is noticed; what comes after the
checksum is not looked at. Manifests of Sheaf before checksums have none, and are checked field by field all the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash

from sheaf.core.errors import RunDamaged, RunNotFound
from sheaf.core.files import NotReadable, NotThere, is_dir, read_file
from sheaf.run.field_rules import RANGE_OR_NULL, TEXT, TEXT_OR_NULL, TRUTH, is_whole, rule_of, whole
from sheaf.run.items import Batch
from sheaf.run.sessions import SESSIONS, session_of
from sheaf.run.task_spec import TaskSpec

#: The manifest's version; a reader refuses a newer one.
MANIFEST_VERSION = 1

_FILE = "run.json"
_CHECKSUM = "checksum"
#: Letters, digits and dashes, as in the ids of batches.
_RUN_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
#: Items of a batch at most: the index has a bit for each.
_LARGEST_BATCH = 2**24
#: Folders of the data folder that hold no outputs; those of sessions hold their own.
_OURS = ("runs", "programs", ".sheaf")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run is. Written once; never changed."""

    #: The run's name: the moment of its submission (UTC, to 1/65536 s) and four random hex digits. Sorts by age.
    run: str = field(metadata=TEXT)
    #: What is done to each item. In the file its fields are among the others.
    spec: TaskSpec
    #: The output's path inside the data folder.
    output: str = field(metadata=TEXT)
    #: How many items.
    items: int = field(metadata=whole())
    #: Items per batch; the last batch may be shorter.
    batch_size: int = field(metadata=whole(1, _LARGEST_BATCH))
    #: Equal for two submissions of the same task, options, items and output.
    fingerprint: str = field(metadata=TEXT)
    #: When it was submitted, ISO 8601 UTC.
    created: str = field(metadata=TEXT)
    #: Names of the input files, for people.
    source: str = field(default="", metadata=TEXT)
    #: Input lines that were rejected, and those that were left out as duplicates.
    rejected: int = field(default=0, metadata=whole())
    duplicates: int = field(default=0, metadata=whole())
    #: The items are these numbers (start, stop, step, as of `range`), and there is no file of them. None: there is one.
    numbers: tuple[int, int, int] | None = field(default=None, metadata=RANGE_OR_NULL)
    #: Bytes of the list, and the checksums of its pages (`sheaf/run/item_list.py`); -1: it has none.
    list_bytes: int = field(default=-1, metadata=whole(-1))
    list_sums: str = field(default="", metadata=TEXT)
    #: The program's session that the run is a segment of; None: a person has submitted it.
    session: str | None = field(default=None, metadata=TEXT_OR_NULL)
    #: Whether run and marks have to survive a power cut: of no use to anybody are those of a session that is gone.
    durable: bool = field(default=True, metadata=TRUTH)
    version: int = field(default=MANIFEST_VERSION, metadata=whole())

    @property
    def batches(self) -> int:
        return -(-self.items // self.batch_size)

    def batch(self, number: int) -> Batch:
        first = number * self.batch_size
        return Batch(self.run, number, first, min(self.batch_size, self.items - first))

    def batch_number(self, index: int) -> int:
        """The number of the batch that holds the item."""
        return index // self.batch_size

    @property
    def party(self) -> str:
        """Who shares the workers' time with others: the run, or the session that it is part of."""
        return self.session or self.run


_SPEC_FIELDS = {found.name: found for found in dataclasses.fields(TaskSpec)}
#: Of the file, in its order: those of the spec follow the run's name.
_FIELDS = {
    name: found
    for own in dataclasses.fields(Manifest)
    for name, found in (_SPEC_FIELDS if own.name == "spec" else {own.name: own}).items()
}
#: What a manifest of any age has; all else has a default.
_ALWAYS_THERE = ("run", "task", "options", "output", "items", "batch_size", "fingerprint", "created")
_encode = json.JSONEncoder(separators=(",", ":"), default=dict).encode


def is_run_name(name: str) -> bool:
    return len(name) <= 150 and _RUN_NAME.fullmatch(name) is not None


def write_manifest(folder: Path, manifest: Manifest, *, sync: bool) -> None:
    values = {name: getattr(manifest.spec if name in _SPEC_FIELDS else manifest, name) for name in _FIELDS}
    lines = [f"{_encode(name)}: {_encode(value)}" for name, value in (values | {_CHECKSUM: _checksum(values)}).items()]
    with open(folder / _FILE, "w", encoding="ascii") as target:
        target.write("{\n " + ",\n ".join(lines) + "\n}\n")
        if sync:
            target.flush()
            os.fsync(target.fileno())


def read_manifest(folder: Path, run: str) -> Manifest:
    """Raises RunNotFound if there is no such folder, RunDamaged if what is in it is not the run's manifest."""
    try:
        return _parse(read_file(folder / _FILE), run)
    except NotThere as error:
        # A session's runs go one by one as they are done; while one goes, its folder may be the last that is there.
        if session_of(run) is not None or not is_dir(folder):
            raise RunNotFound(f"no run {run!r} in {folder.parent}; `sheaf status` lists them") from error
        raise damaged(run, folder, _FILE, str(error)) from error
    except NotReadable as error:
        raise damaged(run, folder, _FILE, str(error)) from error


def moved_text(output: str) -> str:
    """What the file `moved` holds: where a run's output is now, and a checksum of it."""
    return f"{output}\n{_checksum({'output': output})}\n"


def read_moved(path: Path, manifest: Manifest) -> str | None:
    """Where the run's output is now; None if it was never moved. Raises NotReadable."""
    try:
        text = os.fsdecode(read_file(path))
    except NotThere:
        return None
    output = text.removesuffix("\n").rpartition("\n")[0]
    if text != moved_text(output):
        raise NotReadable("is not what was written (its checksum differs)")
    _check_output(output, manifest)
    return output


def damaged(run: str, folder: Path, name: str, what: str) -> RunDamaged:
    """The error that says what is wrong with a file of a run, and what to do about it."""
    return RunDamaged(
        f"run {run} is set aside: its file {folder / name} {what}, so it cannot be trusted to say what must be done. "
        "Restore the file, and the run goes on by itself; "
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
    if is_whole(version) and version > MANIFEST_VERSION:
        raise NotReadable(f"was written by a newer Sheaf (manifest version {version}); update this one")
    _check_sum(values)
    if values.get("numbers") is not None and isinstance(values["numbers"], list):
        values["numbers"] = tuple(values["numbers"])
    # Manifests of Sheaf before these fields: the run's name says it. From here on nothing else parses it.
    session = session_of(run)
    values.setdefault("session", session)
    values.setdefault("durable", session is None)
    for name, found in _FIELDS.items():
        if name not in values:
            if name in _ALWAYS_THERE:
                raise NotReadable(f"has no field {name!r}")
        elif not rule_of(found).allows(values[name]):
            raise NotReadable(f"says {name} is {_shown(values[name])}, which should be {rule_of(found).wanted}")
    known = {name: value for name, value in values.items() if name in _FIELDS}
    spec = TaskSpec(**{name: known.pop(name) for name in _SPEC_FIELDS if name in known})
    manifest = Manifest(spec=spec, **known)
    _check_together(manifest, run)
    return manifest


def _check_sum(values: dict[str, Any]) -> None:
    if _CHECKSUM in values:
        before = dict(list(values.items())[: list(values).index(_CHECKSUM)])
        if values[_CHECKSUM] != _checksum(before):
            raise NotReadable("is not what was written (its checksum differs)")
    elif "list_sums" in values:
        # The version that wrote that wrote a checksum, too.
        raise NotReadable("is not what was written (its checksum is missing)")


def _checksum(values: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(_encode(values).encode())


def _check_together(manifest: Manifest, run: str) -> None:
    """What fields say about each other, and about the file's path."""
    if manifest.run != run:
        raise NotReadable(f"is that of another run ({_shown(manifest.run)})")
    if manifest.session != session_of(run):
        raise NotReadable(f"says that it belongs to session {_shown(manifest.session)}, but is elsewhere")
    _check_output(manifest.output, manifest)
    if manifest.numbers is not None and _length(*manifest.numbers) != manifest.items:
        raise NotReadable(f"counts {manifest.items:,} items, but has the numbers {manifest.numbers}")


def _check_output(output: str, manifest: Manifest) -> None:
    parts = PurePosixPath(output).parts
    if output.startswith("/") or ".." in parts or not parts or "\0" in output:
        raise NotReadable(f"names an output outside the data folder ({_shown(output)})")
    if parts[0] in _OURS or (parts[0] == SESSIONS) != (manifest.session is not None):
        raise NotReadable(f"names an output where none of this run can be ({_shown(output)})")


def _length(start: int, stop: int, step: int) -> int:
    return max(0, -(-(stop - start) // step))


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a truth value"}
    return kinds.get(type(value), "nothing")


def _shown(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
