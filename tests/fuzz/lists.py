"""Lists: lines, URLs, JSON lines, CSV, ranges; wherever a block ends, what is read is the same."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf.tasks.function.calls import parser
from sheaf.tasks.load.errors import InvalidUrl
from sheaf.tasks.load.url import check_url, split_normal, split_url
from sheaf_producer.inputs.csv_rows import read_csv
from sheaf_producer.inputs.json_lines import read_json_lines
from sheaf_producer.inputs.lines import chunks, read_lines
from sheaf_producer.inputs.numbers import LARGEST, numbers_of
from sheaf_producer.inputs.read import LINE_LIMIT_BYTES, Sheet
from sheaf_producer.inputs.stream import Reject
from tests.fuzz.target import number, target

_ENDS = re.compile(rb"\r\n?|\n")
_URLS = (
    b"http://",
    b"https://",
    b"//",
    b"@",
    b":80",
    b"%2e",
    b"\t",
    b"\r",
    b"\xe2\x80\xa8",
    b"xn--",
    b"..",
    b"\\",
    b"?",
    b"#",
    b"[::1]",
)
_CSV = (b'"', b'""', b",", b"\r", b"\n", b"\r\n", b"a,b\n", b";", b"\xff", b"\0", b"\xef\xbb\xbf")
_JSON = (b"{", b"}", b"[", b"]", b'"', b"\\ud800", b"NaN", b"1e400", b"null", b"\r", b"\n", b",", b":", b"\xef\xbb\xbf")

Reader = Callable[[Iterator[bytes], Reject], Iterator[list[str]]]


def _blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _read(reader: Reader, data: bytes, size: int) -> tuple[list[str], list[Line]]:
    rejected: list[Line] = []
    return [text for texts in reader(_blocks(data, size), rejected.append) for text in texts], rejected


def _read_twice(reader: Reader, data: bytes) -> tuple[list[str], list[Line]]:
    """Read it in one piece and in small ones; return what came of both."""
    size, content = number(data)
    whole = _read(reader, content, len(content) or 1)
    in_pieces = _read(reader, content, size % 16 + 1)
    assert in_pieces[0] == whole[0]
    # What is rejected for a row that no line ends may come in another order than one that is too long, never else.
    assert in_pieces[1] == whole[1]
    return whole


@target(b"\7one\rtwo\r\nthree\n\n\xff\n", b"\0a\0b\n", tokens=(b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"\xe2\x80\xa8"))
def lines(data: bytes) -> None:
    """Each line is an item, blank, or rejected with its number; nothing else comes of it."""
    items, rejected = _read_twice(lambda blocks, reject: read_lines("x", blocks, reject), data)
    wanted, bad = [], []
    for place, line in enumerate(_ENDS.split(number(data)[1]), start=1):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            bad.append(place)
            continue
        if "\0" in text:
            bad.append(place)
        elif text.strip():
            wanted.append(text)
    assert items == wanted
    assert [line.number for line in rejected] == bad


@target(b"http://a/b\nhttps://example.org:80/x?y#z\r# c\n", b"http://a/\thttp://b/\n", tokens=_URLS)
def urls(data: bytes) -> None:
    """A line's URL is in normal form, one and the same however it is reached; no line becomes two's."""
    for size in (1, 7, len(data) or 1):
        sheets = [Sheet("x", chunk) for chunk in chunks("x", _blocks(data, size), LINE_LIMIT_BYTES, print)]
        texts = [line.text for sheet in sheets for line in sheet.lines() if line.problem is None]
        assert not any("\r" in text or "\n" in text for text in texts)
    for sheet in sheets:
        at_a_glance = split_normal(sheet.chunk.data)
        assert at_a_glance is None or at_a_glance == [check_url(text) for text in at_a_glance]
    for text in texts:
        for scheme in (None, "https"):
            try:
                url = check_url(text, scheme)
            except InvalidUrl as error:
                assert len(str(error)) < 2000
                continue
            assert check_url(url) == url and url.isascii() and "#" not in url
            assert not re.search(r"[\0-\x20\x7f]", url)
            assert not re.search(r"[\t\r\n]", text.strip())
            authority, rest = split_url(url)
            assert authority and "@" not in authority and rest.startswith("/")


@target(b'\5{"a": [1, 2.5, "x"]}\n"\\ud800"\r123456789012345678901234567890\n', b"\0[[[[]]]]", tokens=_JSON)
def json_lines(data: bytes) -> None:
    """What is an item here is a value in the worker."""
    items, rejected = _read_twice(lambda blocks, reject: read_json_lines("x", blocks, reject), data)
    for item in items:
        assert "\n" not in item and "\r" not in item
        parser("json")(item)
    assert len(items) + len(rejected) <= len(_ENDS.split(number(data)[1]))


@target(
    b'\5a,b\r\n1,"x ""y"""\r\n"2\n3",4\r\n',
    b"\3a\r1\r2\r",
    b'\1a,b\n1,"x\n2,"y"z\n3,4\n',
    tokens=_CSV,
)
def table(data: bytes) -> None:
    """Rows come out as they are written; each line is a part of a row, blank, or rejected."""
    for column in (None, "a"):
        found = _rows(data, column)
        if found is None:
            continue
        items, rejected = found
        numbers = [line.number for line in rejected]
        assert numbers == sorted(numbers)
        assert sum(line.lines for line in rejected) <= len(_ENDS.split(number(data)[1]))
        assert not any("\n" in item or "\r" in item for item in items)
        if column is None and items and not rejected:
            _check_against_csv(number(data)[1], items)


def _check_against_csv(content: bytes, items: list[str]) -> None:
    text = content.decode()
    first, *rest = (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
    names = [name.strip() for name in first]
    assert [json.loads(item) for item in items] == [dict(zip(names, row, strict=True)) for row in rest]


def _rows(data: bytes, column: str | None) -> tuple[list[str], list[Line]] | None:
    def reader(blocks: Iterator[bytes], reject: Reject) -> Iterator[list[str]]:
        return read_csv("x", blocks, reject, column=column, delimiter=",")

    size, content = number(data)
    outcomes: list[Any] = []
    for piece in (len(content) or 1, size % 16 + 1):
        try:
            outcomes.append(_read(reader, content, piece))
        except InputError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    return None if isinstance(outcomes[0], str) else outcomes[0]


@target(b"range(10)", b"range(1_000, -5,-2)", tokens=(b"range(", b")", b",", b"_", b"-", b"9" * 30))
def numbers(data: bytes) -> None:
    """A range as Python's own, an InputError, or no range at all."""
    try:
        found = numbers_of(data.decode("latin-1"))
    except InputError as error:
        assert len(str(error)) < 500 + 2 * len(data)
        return
    assert found is None or 0 < len(found) <= LARGEST
