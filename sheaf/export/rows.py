"""From JSON lines to the rows of a table: which columns there are, of what kind, and each record's fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from sheaf.errors import UsageError

#: More different keys than this are data, not columns.
MOST_COLUMNS = 2_000
_INT64 = 1 << 63

Row = dict[str, Any]


def rows(data: bytes) -> Iterator[Row]:
    """Yield a row for each line; an object that a function returned is spread over columns of its own."""
    for line in data.split(b"\n"):
        if line:
            yield _spread(_read(line))


def _read(line: bytes) -> Row:
    try:
        record = orjson.loads(line)
    except ValueError:
        record = json.loads(line)  # a lone surrogate, which orjson does not read
    return record if isinstance(record, dict) else {"value": record}


def _spread(record: Row) -> Row:
    value = record.get("value")
    if not isinstance(value, dict):
        return record
    del record["value"]
    return record | {f"value.{key}" if key in record else key: field for key, field in value.items()}


class Columns:
    """The names of all columns in the order in which they come, and what stands in each."""

    def __init__(self, chosen: Sequence[str] | None) -> None:
        self._chosen = chosen
        self._kinds: dict[str, set[str]] = {name: set() for name in chosen or ()}

    def look(self, found: Iterable[Row]) -> None:
        """Take note of these rows. Raises UsageError for so many keys that they cannot be columns."""
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
        """What holds everything that stands in the column: bool, int, float or text."""
        kinds = self._kinds[name] - {"nothing"}
        if kinds in ({"int", "float"}, {"float"}):
            return "float"
        return kinds.pop() if len(kinds) == 1 else "text"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -_INT64 <= value < _INT64 else "text"
    return "float" if isinstance(value, float) else "text"
