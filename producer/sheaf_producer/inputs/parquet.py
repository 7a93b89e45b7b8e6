"""Parquet: each row is an item, as a JSON object; or one column's value is. Needs pyarrow (`sheaf[parquet]`)."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import uuid
from collections.abc import Iterator
from typing import Any

from sheaf.errors import InputError
from sheaf.parquet import pyarrow_parquet
from sheaf_producer.inputs.lines import ITEM_LIMIT_BYTES
from sheaf_producer.inputs.stream import Line, Reject

#: Rows that are read at once.
_ROWS = 4096


def column_is_text(name: str, column: str) -> bool:
    """Whether the column holds texts. Raises InputError if there is no such column."""
    with _open(name) as source:
        schema = source.schema_arrow
        if column not in schema.names:
            raise InputError(f"{name} has no column {column!r}; it has {', '.join(map(repr, schema.names))}")
        return str(schema.field(column).type) in ("string", "large_string", "string_view")


def read_parquet(name: str, reject: Reject, *, column: str | None) -> Iterator[list[str]]:
    """Yield the rows as JSON objects, or one column's values: texts as they are, others as JSON. Many at once."""
    as_text = column is not None and column_is_text(name, column)
    number = 1
    with _open(name) as source:
        batches = _batches(name, source, column)
        for batch in batches:
            rows = batch.to_pylist() if column is None else batch.column(0).to_pylist()
            yield list(_texts(name, rows, number, as_text, reject))
            number += len(rows)


def _open(name: str) -> Any:
    parquet = pyarrow_parquet()
    if name == "-":
        raise InputError("Parquet is read from its end, so it cannot come through standard input; name the file")
    try:
        return parquet.ParquetFile(name)
    except OSError as error:
        raise InputError(f"{name} cannot be read as Parquet: {error}") from error
    except ValueError as error:
        raise InputError(f"{name} is not Parquet, or damaged or cut short: {error}") from error


def _batches(name: str, source: Any, column: str | None) -> Iterator[Any]:
    batches = source.iter_batches(batch_size=_ROWS, columns=None if column is None else [column])
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            raise InputError(f"{name} is damaged, or was changed while it was read: {error}") from error
        if batch is None:
            return
        yield batch


def _texts(name: str, rows: list[Any], number: int, as_text: bool, reject: Reject) -> Iterator[str]:
    for place, row in enumerate(rows, start=number):
        try:
            text = row if as_text and row is not None else _ENCODER.encode(row)
            why = _problem(text, as_text, row)
        except (TypeError, ValueError) as error:
            text, why = repr(row), f"the row has no JSON form: {error}"
        if why is None:
            yield text
        else:
            reject(Line(name, place, text[:200].encode(errors="backslashreplace").decode(), why))


def _problem(text: str, as_text: bool, row: Any) -> str | None:
    if as_text and row is None:
        return "the value is null; leave out --column to get objects"
    if "\n" in text or "\0" in text:
        return "the text holds a line break or a zero byte, and an item is one line; leave out --column to get objects"
    if len(text) > ITEM_LIMIT_BYTES // 4 and len(text.encode()) > ITEM_LIMIT_BYTES:
        return f"the row is larger than {ITEM_LIMIT_BYTES:,} bytes"
    return None


def _plain(value: Any) -> Any:
    """What JSON has no form of: moments as ISO 8601, decimals and UUIDs as text, bytes as base64."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"a {type(value).__name__}")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
