"""CSV: each row is an item, as a JSON object; or one column's text is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice

from sheaf.errors import InputError
from sheaf_producer.inputs.lines import ITEM_LIMIT_BYTES, chunks
from sheaf_producer.inputs.stream import Line, Reject

#: Rows that are yielded at once.
_ROWS = 4096
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def read_csv(
    source: str, blocks: Iterator[bytes], reject: Reject, *, column: str | None, delimiter: str
) -> Iterator[list[str]]:
    """Yield the rows as JSON objects, by the names in the first row; or one column's texts. Many at once.

    Raises InputError if the first row does not name the columns. A row with too many or too few fields is rejected.
    """
    csv.field_size_limit(ITEM_LIMIT_BYTES)
    items = _Rows(source, blocks, reject, delimiter).items(column)
    while texts := list(islice(items, _ROWS)):
        yield texts


class _Rows:
    """Reads rows and rejects those that cannot be used."""

    def __init__(self, source: str, blocks: Iterator[bytes], reject: Reject, delimiter: str) -> None:
        self._source = source
        self._tell = reject
        #: Lines that never came to the reader, since they were too long.
        self._skipped = 0
        #: Whether anything so far was not UTF-8: then each row is looked at.
        self._dirty = False
        self._reader = csv.reader(self._lines(blocks), delimiter=delimiter, strict=True)

    def items(self, column: str | None) -> Iterator[str]:
        header = self._header()
        if column is not None and column not in header:
            raise InputError(f"{self._source} has no column {column!r}; it has {', '.join(map(repr, header))}")
        place = header.index(column) if column is not None else None
        for row in self._rows():
            if not row:
                continue
            text = _encode(dict(zip(header, row, strict=False))) if place is None else "".join(row[place : place + 1])
            why = self._problem(row, header, text)
            if why is None:
                yield text
            else:
                self._reject(text, why)

    def _header(self) -> list[str]:
        header = [name.strip() for name in next((row for row in self._rows() if row), [])]
        if not all(header) or len(set(header)) < len(header):
            raise InputError(
                f"the first row of {self._source} does not name its columns, each once: "
                f"{', '.join(map(repr, header))}; add a first row with the names, or read it with --input-format lines"
            )
        return header

    def _rows(self) -> Iterator[list[str]]:
        while True:
            try:
                yield next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._reject("", f"not a row of CSV: {error}; is a quotation mark missing?")

    def _problem(self, row: list[str], header: list[str], text: str) -> str | None:
        if len(row) != len(header):
            return f"the row has {len(row)} fields, the first row {len(header)}"
        if self._dirty and any("\udc80" <= character <= "\udcff" for character in text):
            return "the row is not UTF-8; is the file in another encoding?"
        if "\n" in text or "\0" in text:
            return (
                "the text holds a line break or a zero byte, and an item is one line; leave out --column to get objects"
            )
        if len(text) > ITEM_LIMIT_BYTES // 4 and len(text.encode()) > ITEM_LIMIT_BYTES:
            return f"the row is larger than {ITEM_LIMIT_BYTES:,} bytes"
        return None

    def _reject(self, text: str, why: str) -> None:
        shown = text[:200].encode(errors="backslashreplace").decode()
        self._tell(Line(self._source, self._reader.line_num + self._skipped, shown, why))

    def _lines(self, blocks: Iterator[bytes]) -> Iterator[str]:
        for chunk in chunks(self._source, blocks, ITEM_LIMIT_BYTES, self._skip):
            text = chunk.data.decode(errors="surrogateescape")
            self._dirty = self._dirty or any("\udc80" <= character <= "\udcff" for character in _odd(text))
            yield from io.StringIO(text, newline="")

    def _skip(self, line: Line) -> None:
        self._skipped += 1
        self._tell(line)


def _odd(text: str) -> str:
    """The text if it may hold what was not UTF-8; nothing if it surely does not."""
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text
    return ""
