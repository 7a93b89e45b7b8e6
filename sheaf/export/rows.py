"""From JSON lines to the rows of a table: which columns there are, of what kind, and each record's fields."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from sheaf.core.errors import UsageError
from sheaf.formats.values import decoded

#: More different keys than this are data, not columns.
MOST_COLUMNS = 2_000
_INT64 = 1 << 63
#: Up to here every whole number is a float too.
_FLOAT_HOLDS = 1 << 53
#: What may be a whole number beyond 64 bits, of which orjson makes a float.
_LONG_NUMBER = b"0" * 19
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
#: As deep as any value can be nested that a task could return.
_DEPTH = 20_000

Row = dict[str, Any]


@contextlib.contextmanager
def reading_anything() -> Iterator[None]:
    """What could be written can be read: values nested as deep, whole numbers as long as Python makes them."""
    depth, digits = sys.getrecursionlimit(), sys.get_int_max_str_digits()
    sys.setrecursionlimit(max(depth, _DEPTH))
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.setrecursionlimit(depth)
        sys.set_int_max_str_digits(digits)


def rows(data: bytes) -> Iterator[Row]:
    """Yield a row for each line; an object that a function returned is spread over columns of its own."""
    exact = _has_long_number(data)
    for line in data.split(b"\n"):
        if line:
            yield _spread(_read(line, exact and _has_long_number(line)))


def _has_long_number(data: bytes) -> bool:
    return _LONG_NUMBER in data.translate(_DIGITS)  # a fiftieth of what a regular expression takes


def _read(line: bytes, exact: bool) -> Row:
    try:
        record = json.loads(line) if exact else orjson.loads(line)
    except ValueError:
        record = json.loads(line)  # a lone surrogate, which orjson does not read, or a deep nest
    if not isinstance(record, dict):
        return {"value": record}
    places = record.pop("not_finite", None)
    if places:
        record["value"] = decoded(record["value"], places)
    return record


def _spread(record: Row) -> Row:
    value = record.get("value")
    if not isinstance(value, dict):
        return record
    del record["value"]
    row = dict(record)
    for key, field in value.items():
        row[_free(key, record, value)] = field
    return row


def _free(key: str, record: Row, value: Row) -> str:
    """The name of a key's column: its own, if it is not one of the record's."""
    name = key
    while name in record or (name != key and name in value):
        name = f"value.{name}"
    return name


class Columns:
    """The names of all columns in the order in which they come, and what is in each."""

    def __init__(self, chosen: Sequence[str] | None) -> None:
        self._chosen = chosen
        self._kinds: dict[str, set[str]] = {name: set() for name in chosen or ()}

    def look(self, found: Iterable[Row]) -> None:
        """Take note of these rows. Raises UsageError for too many keys to be columns."""
        kinds, chosen = self._kinds, self._chosen
        for row in found:
            for name, value in row.items():
                if name in kinds:
                    kinds[name].add(_kind(value))
                elif chosen is None:
                    kinds[name] = {_kind(value)}
        if len(kinds) > MOST_COLUMNS:
            raise UsageError(
                f"the values have more than {MOST_COLUMNS:,} different keys, too many for columns; "
                "choose some with --columns"
            )

    @property
    def names(self) -> list[str]:
        return list(self._kinds)

    def kind(self, name: str) -> str:
        """The type that holds everything in the column unchanged: bool, int, float or text."""
        kinds = self._kinds[name] - {"nothing"}
        if kinds in ({"int", "long"}, {"long"}):
            return "int"
        if kinds in ({"int", "float"}, {"float"}):
            return "float"
        return kinds.pop() if len(kinds) == 1 else "text"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if -_FLOAT_HOLDS <= value <= _FLOAT_HOLDS:
            return "int"
        return "long" if -_INT64 <= value < _INT64 else "text"
    return "float" if isinstance(value, float) else "text"
