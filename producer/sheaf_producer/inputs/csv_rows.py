"""CSV: each row is an item, as a JSON object; or one column's text is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf_producer.inputs.csv_quotes import is_open, what_is_wrong
from sheaf_producer.inputs.lines import ITEM_LIMIT_BYTES, Chunk, chunks
from sheaf_producer.inputs.stream import Reject

#: Rows that are yielded at once.
_ROWS = 4096
#: Other delimiters of tables that are called CSV.
_OTHER_DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'"}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def read_csv(
    source: str, blocks: Iterator[bytes], reject: Reject, *, column: str | None, delimiter: str, chosen: bool = True
) -> Iterator[list[str]]:
    """Yield the rows as JSON objects, by the names in the first row; or one column's texts. Many at once.

    Raises InputError if the first row does not name the columns; or looks as if another delimiter was meant, unless
    the user has `chosen` this one. A row with too many or too few fields is rejected.
    """
    csv.field_size_limit(ITEM_LIMIT_BYTES)
    items = _Rows(source, blocks, reject, delimiter).items(column, chosen=chosen)
    while texts := list(islice(items, _ROWS)):
        yield texts


class _Piece:
    """Lines that the reader has got, in case one of them turns out to be none of a row. `number`: the first one's."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self._text = text

    @cached_property
    def _lines(self) -> list[str]:
        return list(io.StringIO(self._text, newline=""))

    @property
    def last(self) -> int:
        return self.number + len(self._lines) - 1

    def between(self, first: int, last: int) -> str:
        """Those of the lines that are among these."""
        return "".join(self._lines[max(0, first - self.number) : max(0, last - self.number + 1)])


class _Rows:
    """Reads rows and rejects those that cannot be used."""

    def __init__(self, source: str, blocks: Iterator[bytes], reject: Reject, delimiter: str) -> None:
        self._source = source
        self._tell = reject
        self._delimiter = delimiter
        self._chunks = chunks(source, blocks, ITEM_LIMIT_BYTES, self._skip, keep_ends=True)
        #: What comes after a line that was too long to be held.
        self._next: Chunk | None = None
        self._skipped = self._over = False
        #: The number of the line before the first one that the reader has got.
        self._base = 0
        #: Lines that the reader had read when it began the row at hand.
        self._before = 0
        #: The chunks that the current row is in.
        self._held: list[_Piece] = []
        #: Whether anything so far was not UTF-8: then each row is looked at.
        self._dirty = False
        self._reader = csv.reader(())

    def items(self, column: str | None, *, chosen: bool) -> Iterator[str]:
        rows = self._rows()
        header = self._header(rows, chosen=chosen)
        if column is not None and column not in header:
            raise InputError(f"{self._source} has no column {column!r}; its columns are {', '.join(map(repr, header))}")
        place = header.index(column) if column is not None else None
        for row in rows:
            if not row:
                continue
            text = _encode(dict(zip(header, row, strict=False))) if place is None else "".join(row[place : place + 1])
            why = self._problem(row, header, text)
            if why is None:
                yield text
            else:
                self._reject(text, why)

    def _header(self, rows: Iterator[list[str]], *, chosen: bool) -> list[str]:
        """Return the columns' names. Without them no row means anything: nothing else takes their place."""
        refused: list[str] = []
        tell, self._tell = self._tell, lambda line: refused.append(f"line {line.number}: {line.problem}")
        header = [name.strip() for name in next((row for row in rows if row), [])]
        self._tell = tell
        cure = "correct it, or read the file with --input-format lines"
        if refused:
            raise InputError(
                f"the first row of {self._source}, which names the columns, cannot be read ({refused[0]}); {cure}"
            )
        if any("\udc80" <= character <= "\udcff" or character == "\0" for name in header for character in name):
            raise InputError(
                f"the first row of {self._source} is not UTF-8 text; is the file in another encoding? "
                f"iconv -f latin1 -t utf-8 {self._source} | sheaf … - --input-format csv"
            )
        if not chosen and len(header) == 1:
            self._check_delimiter(header[0])
        if not all(header) or len(set(header)) < len(header):
            raise InputError(
                f"the first row of {self._source} does not name each column once: "
                f"{', '.join(map(repr, header))}; add a first row with the names, or {cure}"
            )
        return header

    def _check_delimiter(self, name: str) -> None:
        """One column with a delimiter of others in its name: all rows would be read, and none as it was meant."""
        other = next((other for other in _OTHER_DELIMITERS if other in name), None)
        if other is not None:
            shown = _OTHER_DELIMITERS[other]
            note = f", after its first line {name!r}" if name.startswith("sep=") else ""
            raise InputError(
                f"the first row of {self._source} is one field, {name!r}: the fields seem to be separated by {shown}; "
                f"give --delimiter {shown}{note} (or --delimiter , if it is right as it is)"
            )

    def _rows(self) -> Iterator[list[str]]:
        """Yield the rows, one by one; reject what is none. What follows a line that is too long is another reader's."""
        while not self._over:
            self._before = 0
            reader = self._reader = csv.reader(self._lines(), delimiter=self._delimiter, strict=True)
            while not self._over:
                try:
                    row = next(reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    self._refuse(error)
                else:
                    yield row
                self._before = reader.line_num
            self._over = self._over or self._next is None

    def _refuse(self, error: csv.Error) -> None:
        """Reject lines that are no row: which quotation mark is the cause, and how many lines were lost to it."""
        first, last = self._first, self._base + self._reader.line_num
        lines = "".join(piece.between(first, last) for piece in self._held)
        too_large = "field limit" in str(error)
        open_end = is_open(lines, self._delimiter) and (too_large or self._next is not None)
        if open_end:
            # Where this field was to end is unknown, and so is where the next row begins.
            last = self._run_out(self._held[-1].last)
        why = what_is_wrong(lines, first, last, self._delimiter)
        if why is None:
            why = f"a field is larger than {ITEM_LIMIT_BYTES:,} bytes" if too_large else f"not a row of CSV: {error}"
        self._reject(lines, why, last)

    def _run_out(self, last: int) -> int:
        """Read what is left, and return the number of its last line."""
        self._over = True
        chunk = self._next
        while chunk is not None or (chunk := next(self._chunks, None)) is not None:
            last, chunk = _Piece(chunk.number, chunk.data.decode(errors="replace")).last, None
        return last

    @property
    def _first(self) -> int:
        """The number of the first line of the row at hand."""
        return self._base + self._before + 1

    def _problem(self, row: list[str], header: list[str], text: str) -> str | None:
        if len(row) != len(header):
            return f"the row has {len(row)} fields, the first row {len(header)}"
        if self._dirty and any("\udc80" <= character <= "\udcff" for character in text):
            return "the row is not UTF-8; is the file in another encoding?"
        if "\n" in text or "\r" in text or "\0" in text:
            return (
                "the text contains a line break or a zero byte, but an item is one line; omit --column to get objects"
            )
        if len(text) > ITEM_LIMIT_BYTES // 4 and len(text.encode()) > ITEM_LIMIT_BYTES:
            return f"the row is larger than {ITEM_LIMIT_BYTES:,} bytes"
        return None

    def _reject(self, text: str, why: str, last: int | None = None) -> None:
        shown = text[:200].encode(errors="backslashreplace").decode()
        count = (self._base + self._reader.line_num if last is None else last) - self._first + 1
        self._tell(Line(self._source, self._first, shown, why, count))

    def _lines(self) -> Iterator[str]:
        """Yield lines with their ends, as many as follow each other."""
        self._base, self._held = -1, []
        while (chunk := self._next or next(self._chunks, None)) is not None:
            self._next = None
            if self._skipped:
                # A line is missing before this one: what was begun above it is not continued here.
                self._skipped = False
                if self._base >= 0:
                    self._next = chunk
                    return
            if self._base < 0:
                self._base = chunk.number - 1
            text = chunk.data.decode(errors="surrogateescape")
            self._dirty = self._dirty or any("\udc80" <= character <= "\udcff" for character in _odd(text))
            self._held.append(_Piece(chunk.number, text))
            while len(self._held) > 1 and self._held[1].number <= self._first:
                self._held.pop(0)
            yield from io.StringIO(text, newline="")

    def _skip(self, line: Line) -> None:
        self._skipped = True
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
