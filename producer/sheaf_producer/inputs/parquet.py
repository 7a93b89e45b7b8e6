"""Parquet: each row is an item, as a JSON object; or one column's value is. Needs pyarrow (`sheaf[parquet]`)."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from sheaf.core.errors import InputError
from sheaf.core.optional import pyarrow_parquet
from sheaf.submission.tally import Line
from sheaf_producer.inputs.lines import ITEM_LIMIT_BYTES
from sheaf_producer.inputs.stream import Reject

#: Rows that are read at once.
_ROWS = 4096


def column_is_text(name: str, column: str) -> bool:
    """Whether the column holds texts. Raises InputError if there is no such column."""
    with _open(name) as source:
        schema = source.schema_arrow
        if column not in schema.names:
            raise InputError(f"{name} has no column {column!r}; its columns are {', '.join(map(repr, schema.names))}")
        return str(schema.field(column).type) in ("string", "large_string", "string_view")


def read_parquet(name: str, reject: Reject, *, column: str | None) -> Iterator[list[str]]:
    """Yield the rows as JSON objects, or one column's values: texts as they are, others as JSON. Many at once."""
    pyarrow_parquet()  # says how to get it, if it is not there
    from sheaf_producer.inputs.parquet_values import values_of

    as_text = column is not None and column_is_text(name, column)
    number = 1
    with _open(name) as source:
        _check_names(name, source.schema_arrow.names)
        for batch in _batches(name, source, column):
            rows = _rows(batch, values_of) if column is None else values_of(batch.column(0))
            yield list(_texts(name, rows, number, as_text, reject))
            number += len(rows)


def _check_names(name: str, columns: list[str]) -> None:
    twice = next((column for place, column in enumerate(columns) if column in columns[:place]), None)
    if twice is not None:
        raise InputError(
            f"{name} has several columns {twice!r}, but a row can hold only one of them; rename the others"
        )


def _rows(batch: Any, values_of: Callable[[Any], list[Any]]) -> list[dict[str, Any]]:
    names = batch.schema.names
    if not names:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*map(values_of, batch.columns), strict=True)]


def _open(name: str) -> Any:
    parquet = pyarrow_parquet()
    if name == "-":
        raise InputError("Parquet is read from its end, so it cannot come through standard input; name the file")
    try:
        return parquet.ParquetFile(name)
    except OSError as error:
        raise InputError(f"{name} cannot be read as Parquet: {error}") from error
    except ValueError as error:
        raise InputError(f"{name} is not Parquet, or is damaged or truncated: {error}") from error


def _batches(name: str, source: Any, column: str | None) -> Iterator[Any]:
    batches = source.iter_batches(batch_size=_ROWS, columns=None if column is None else [column])
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            raise InputError(f"{name} is damaged, or changed while it was read: {error}") from error
        if batch is None:
            return
        yield batch


def _texts(name: str, rows: list[Any], number: int, as_text: bool, reject: Reject) -> Iterator[str]:
    for place, row in enumerate(rows, start=number):
        try:
            text = row if as_text and row is not None else _ENCODER.encode(row)
            why = _problem(text, as_text, row)
        except (TypeError, ValueError, RecursionError) as error:
            text, why = repr(row), f"the row has no JSON form: {error}"
        if why is None:
            yield text
        else:
            reject(Line(name, place, text[:200].encode(errors="backslashreplace").decode(), why))


def _problem(text: str, as_text: bool, row: Any) -> str | None:
    if as_text and row is None:
        return "the value is null; leave out --column to get objects"
    if "\n" in text or "\r" in text or "\0" in text:
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
    if type(value).__module__ == "numpy":
        return value.item()
    # Known by its name: the class comes with pyarrow, which is imported only where there is Parquet.
    raise TypeError(getattr(value, "why", f"a {type(value).__name__}"))


#: NaN and infinity are written as Python's json reads them, which is what the items are read by.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain)
