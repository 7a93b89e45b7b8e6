"""CSV: one row per item, under a first row that names the columns."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from sheaf.core.errors import OutputPathError, TaskError
from sheaf.formats.page import Page
from sheaf.formats.values import bare

#: The columns if none are chosen.
COLUMNS = ("index", "item", "value")
#: How a field begins that a spreadsheet takes for a formula; some pass over blanks and line ends, or know wide signs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class CsvFormat:
    """The columns index, item and value; or chosen ones, which are keys of the objects that the function returns.

    Of several runs in one output, all have the same columns: the first row is written once.
    """

    keeps_coding = False

    def __init__(self, columns: Sequence[str] | None = None, *, harmless: bool = False) -> None:
        """`harmless`: no field is one that a spreadsheet would run as a formula."""
        self._harmless = harmless
        self._columns = tuple(columns or COLUMNS)
        #: Whether values are objects that are spread over the columns.
        self._spread = bool(columns)
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n")
        #: Some versions of the module leave a lone carriage return unquoted, which readers take for a line's end.
        self._quoting = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def header(self, name: str) -> bytes:  # noqa: ARG002
        return self.row(self._columns)

    def page(self, page: Page) -> bytes:  # noqa: ARG002
        raise OutputPathError(
            "a .csv output does not hold pages; choose .jsonl, .warc.gz, .html or .txt, and see `sheaf export`"
        )

    def value(self, index: int, text: str | int, value: object) -> bytes:
        try:
            return self.row(self._fields(index, str(text), value))
        except UnicodeEncodeError as error:
            raise TaskError(
                f"item {index} returned text with a lone surrogate, which has no UTF-8 form; choose an output that "
                "ends with .jsonl"
            ) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(
                f"item {index} returned a {type(value).__name__} that CSV cannot hold: {error}; "
                "return text, numbers, booleans, None, and lists and dicts of these"
            ) from error

    def _fields(self, index: int, text: str, value: object) -> list[str]:
        if not self._spread:
            return [str(index), text, plain(value)]
        if not isinstance(value, dict):
            raise TypeError(f"the run's columns ({', '.join(self._columns)}) are keys of an object")
        known = {"index": index, "item": text, **value}
        return [plain(known.get(column)) for column in self._columns]

    def row(self, fields: Sequence[str]) -> bytes:
        """Encode one row."""
        self._text.seek(0)
        self._text.truncate()
        if self._harmless:
            fields = [_defused(field) for field in fields]
        (self._quoting if any("\r" in field for field in fields) else self._writer).writerow(fields)
        return self._text.getvalue().encode()


def _defused(field: str) -> str:
    """A field that begins as a formula does, with an apostrophe before it, so that it is shown. Numbers stay."""
    return f"'{field}" if field.startswith(_FORMULA) and not _NUMBER.fullmatch(field) else field


def plain(value: Any) -> str:
    """A value as one field: text as it is, nothing for None, base64 for bytes, JSON for everything else."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return bare(value)
