"""Write rows as a table: CSV, or Parquet (with pyarrow), a group of rows at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from sheaf.core.errors import UsageError
from sheaf.core.optional import pyarrow_parquet
from sheaf.export.rows import Columns, Row
from sheaf.formats.csv import CsvFormat, plain

#: Rows of a Parquet file that make one group: what is held in memory.
GROUP_ROWS = 50_000
#: And bytes of JSON lines that do, if it is fewer rows.
_GROUP_BYTES = 64 << 20


class Table(Protocol):
    """Where rows go."""

    def add(self, rows: Iterable[Row], size: int) -> None:
        """Write rows, in any number; `size` is how many bytes they were as JSON lines."""

    def close(self) -> None:
        """Write what is held, and the end."""


class CsvTable:
    """A row of names, then the rows."""

    def __init__(self, path: Path, columns: Columns, *, harmless: bool = False) -> None:
        self._names = columns.names
        self._format = CsvFormat(self._names, harmless=harmless)
        self._file = open(path, "wb")  # noqa: SIM115  closed by close()
        self._file.write(self._format.row(list(map(_text, self._names))))

    def add(self, rows: Iterable[Row], size: int) -> None:  # noqa: ARG002
        row_of, names = self._format.row, self._names
        self._file.writelines(row_of([_text(row.get(name)) for name in names]) for row in rows)

    def close(self) -> None:
        self._file.close()


class ParquetTable:
    """Columns of whole numbers, numbers, truth values and text; what is of several kinds, or nested, is JSON text."""

    def __init__(self, path: Path, columns: Columns) -> None:
        parquet = pyarrow_parquet()
        import pyarrow

        types = {
            "bool": pyarrow.bool_(),
            "int": pyarrow.int64(),
            "float": pyarrow.float64(),
            "text": pyarrow.string(),
        }
        self._pyarrow = pyarrow
        self._kinds = {name: columns.kind(name) for name in columns.names}
        self._schema = pyarrow.schema([(_text(name), types[kind]) for name, kind in self._kinds.items()])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[Row] = []
        self._held_bytes = 0

    def add(self, rows: Iterable[Row], size: int) -> None:
        self._held_bytes += size
        for row in rows:
            self._held.append(row)
            if len(self._held) >= GROUP_ROWS:
                self._write()
        if self._held_bytes >= _GROUP_BYTES and self._held:
            self._write()

    def close(self) -> None:
        if self._held:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        arrays = [
            self._array(name, kind, self._schema.field(place).type, held)
            for place, (name, kind) in enumerate(self._kinds.items())
        ]
        self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def _array(self, name: str, kind: str, type: Any, held: list[Row]) -> Any:
        try:
            return self._pyarrow.array([_field(row.get(name), kind) for row in held], type)
        except self._pyarrow.ArrowException as error:
            raise UsageError(
                f"the column {name!r} cannot be written as Parquet: {error}; leave it out with --columns, or export to "
                ".csv or .jsonl. Nothing was written"
            ) from error


def _field(value: Any, kind: str) -> Any:
    return value if value is None or kind != "text" else _text(value)


def _text(value: Any) -> str:
    """A lone surrogate, which has no UTF-8 form, is written as its escape."""
    text = plain(value)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
