"""Write a run's records into a file of another format or in the items' order: a copy that is never appended to.

    index: where each record is ─► spans of the output ─► the same bytes, or rows ─► temporary file ─► its place

The file is there whole or not at all. Memory does not grow with the run.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from isal import igzip_lib

from sheaf.core.errors import OutputPathError, TaskError, UsageError
from sheaf.core.files import exists, is_dir
from sheaf.export.rows import Columns, Row, reading_anything, rows
from sheaf.export.tables import CsvTable, ParquetTable, Table
from sheaf.formats import SUFFIXES, Format, format_for
from sheaf.output.index.database import Index
from sheaf.output.read.scan import read_spans, spans
from sheaf.run.run import sync_folder

__all__ = ["Export", "check_destination", "export"]

_TABLES: dict[str, Callable[[Path, Columns], Table]] = {".csv": CsvTable, ".parquet": ParquetTable}
#: What an export may end with.
_DESTINATIONS = (*SUFFIXES, ".parquet")


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written where."""

    output: Path
    run: str
    destination: Path
    #: In the items' order, instead of the file's.
    ordered: bool = False
    #: The columns of a table; None: all there are.
    columns: Sequence[str] | None = None
    #: Of a .csv: without fields that a spreadsheet would run as formulas.
    csv_safe: bool = False


def check_destination(source: str, destination: Path, *, replace: bool) -> None:
    """Raise OutputPathError for what can be seen to be wrong before anything is read."""
    kind = _suffix(destination.name)
    if kind is None:
        raise OutputPathError(f"{destination} has no suffix that names a format; use one of {', '.join(_DESTINATIONS)}")
    held = _suffix(source)
    if kind != held and not (_is_json_lines(held) and (_is_json_lines(kind) or kind in (".csv", ".parquet", ".txt"))):
        raise OutputPathError(
            f"{source} cannot be written as {kind}: only .jsonl and .jsonl.gz outputs can change their format; "
            f"end {destination.name} with {held}"
        )
    if exists(destination.with_name(f"{destination.name}.index")):
        raise OutputPathError(f"{destination} is itself an output with an index; choose another name")
    if not is_dir(destination.parent):
        raise OutputPathError(f"the folder {destination.parent} does not exist; create it first")
    if exists(destination) and not replace:
        raise OutputPathError(f"{destination} exists; remove it, choose another name, or replace it with --force")


def export(wanted: Export) -> int:
    """Write the file; return how many records it holds.

    Raises OutputError if the output cannot be read, UsageError for a record that the format cannot hold. What was in
    the file's place before stays there then.
    """
    place = wanted.destination
    draft = place.with_name(f".{place.name}.exporting-{secrets.token_hex(4)}")
    index = Index(wanted.output, 0.0)
    try:
        with reading_anything():
            count = _write(wanted, index, draft)
        _sync(draft)
        draft.rename(place)
        sync_folder(place.parent)
    finally:
        index.drop()
        with suppress(FileNotFoundError):
            draft.unlink()
    return count


def _write(wanted: Export, index: Index, draft: Path) -> int:
    held, kind = _suffix(wanted.output.name), _suffix(wanted.destination.name)
    if kind == held:
        with index.reading() as reader:
            header = reader.state().header
        return _copy(wanted, index, draft, header, lambda data: data)
    if kind in _TABLES:
        return _write_table(wanted, index, draft, kind)
    unpack = gzip.decompress if held == ".jsonl.gz" else bytes
    if kind == ".txt":
        lines = _Lines(format_for(wanted.destination.name))
        return _copy(wanted, index, draft, b"", lambda data: lines.of(unpack(data)))
    pack: Callable[[bytes], bytes] = _packed if kind == ".jsonl.gz" else bytes
    return _copy(wanted, index, draft, b"", lambda data: pack(unpack(data)))


def _copy(wanted: Export, index: Index, draft: Path, header: bytes, change: Callable[[bytes], bytes]) -> int:
    count = 0
    with open(draft, "wb") as target:
        for span, data in read_spans(index, spans(index, wanted.run, ordered=wanted.ordered)):
            if count == 0:
                target.write(header)
            target.write(change(data))
            count += len(span.lengths)
    return count


def _write_table(wanted: Export, index: Index, draft: Path, kind: str) -> int:
    """Look at all records, to know the columns; then write them. A commit in between is not in the table."""
    columns = Columns(wanted.columns)
    last = 0
    for commit, data in _json_lines(wanted, index, ordered=False):
        columns.look(rows(data))
        last = max(last, commit)
    table = CsvTable(draft, columns, harmless=True) if wanted.csv_safe else _TABLES[kind](draft, columns)
    try:
        count = 0
        for _, data in _json_lines(wanted, index, ordered=wanted.ordered, below=last):
            found = list(rows(data))
            table.add(found, len(data))
            count += len(found)
    finally:
        table.close()
    return count


def _json_lines(
    wanted: Export, index: Index, *, ordered: bool, below: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield where each span of records ends in the output, and its lines."""
    unpack = gzip.decompress if _suffix(wanted.output.name) == ".jsonl.gz" else bytes
    for span, data in read_spans(index, spans(index, wanted.run, ordered=ordered)):
        end = span.offset + len(data)
        if below is None or end <= below:
            yield end, unpack(data)


class _Lines:
    """Values of JSON lines as bare lines of text."""

    def __init__(self, format: Format) -> None:
        self._format = format

    def of(self, data: bytes) -> bytes:
        return b"".join(self._line(json.loads(line)) for line in data.split(b"\n") if line)

    def _line(self, record: Row) -> bytes:
        if "value_base64" in record:
            record["value"] = base64.b64decode(record["value_base64"])
        if "value" not in record:
            raise UsageError(
                "pages cannot be written as bare lines; export them as .csv or .parquet, or load them into a .txt"
            )
        try:
            return self._format.value(record["index"], "", record["value"])
        except TaskError as error:
            raise UsageError(f"{error}. Nothing was written") from error


def _packed(data: bytes) -> bytes:
    packed: bytes = igzip_lib.compress(data, 1, igzip_lib.COMP_GZIP)
    return packed


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in _DESTINATIONS if name.lower().endswith(suffix)), None)


def _is_json_lines(suffix: str | None) -> bool:
    return suffix in (".jsonl", ".jsonl.gz")


def _sync(path: Path) -> None:
    with open(path, "rb") as written:
        os.fsync(written.fileno())
