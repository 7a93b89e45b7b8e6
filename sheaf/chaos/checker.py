"""The judge: reads an output with plain json, gzip and its own eyes, and counts what is lost, doubled or torn.

It knows the list of URLs and can compute each page. It shares no code with what writes, indexes or verifies outputs,
and never asks the index where a record is: it reads the file from its first byte to its last, as a stranger would.
(`warcio`, where it is installed, reads web archives a second time.)
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class TornError(Exception):
    """At this position of the file there is no whole record."""


@dataclass(slots=True)
class Verdict:
    """What is wrong with an output."""

    pages: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    #: Records that are not whole, pages with other bytes than were served, and pages that were not asked for.
    torn: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.torn)


#: One page in the file: its URL, and the SHA-256 of its bytes.
Found = tuple[str, str]


def check(output: Path, expected: Mapping[str, bytes]) -> Verdict:
    """Read the whole file and compare it with what was asked for: URL -> the page's bytes."""
    verdict = Verdict()
    seen: Counter[str] = Counter()
    read = _readers()[next(suffix for suffix in _readers() if output.name.endswith(suffix))]
    try:
        for url, digest in read(output):
            verdict.pages += 1
            seen[url] += 1
            if url not in expected:
                verdict.torn.append(f"{url} is in the file, but was never asked for")
            elif digest != _sha256(expected[url]):
                verdict.torn.append(f"{url} does not have the bytes that the site serves")
        _read_with_warcio(output)
    except TornError as error:
        verdict.torn.append(str(error))
    except FileNotFoundError:
        verdict.torn.append("there is no output")
    verdict.lost = [url for url in expected if not seen[url]]
    verdict.doubled = [url for url, count in seen.items() if count > 1]
    return verdict


def check_values(output: Path, count: int, value_of: Callable[[int], object]) -> Verdict:
    """Read JSON lines of a function's values, line by line: each of `count` items once, with its own value."""
    verdict = Verdict()
    seen = bytearray(count)
    try:
        with open(output, "rb") as file:
            lines: Iterable[bytes] = _unpacked_lines(output) if output.name.endswith(".gz") else file
            for number, line in enumerate(lines):
                verdict.pages += 1
                index = _index_of(line, count, value_of)
                if index is None:
                    verdict.torn.append(f"line {number} is not the whole record of an item: {line[:80]!r}")
                elif seen[index]:
                    verdict.doubled.append(f"item {index}")
                else:
                    seen[index] = 1
    except TornError as error:
        verdict.torn.append(str(error))
    except FileNotFoundError:
        verdict.torn.append("there is no output")
    verdict.lost = [f"item {index}" for index in range(count) if not seen[index]]
    return verdict


def _unpacked_lines(output: Path) -> Iterator[bytes]:
    for member in _members(output.read_bytes()):
        yield from member.splitlines(keepends=True)


def _index_of(line: bytes, count: int, value_of: Callable[[int], object]) -> int | None:
    """Return the item that the line is the record of; None if it is not a whole and right one."""
    try:
        record = json.loads(line)
        index, value = record["index"], record["value"]
    except (ValueError, KeyError, TypeError):
        return None
    whole = line.endswith(b"\n") and isinstance(index, int) and 0 <= index < count
    return index if whole and value == value_of(index) else None


#: A page's heading in the combined file, with the word that the file's first line tells in its place.
_HTML_HEADING = rb"^<!-- sheaf %s(\d+) (\S+) -->\n"
_TEXT_HEADING = rb"^# %s(\d+) (http\S+)\n"


def _readers() -> dict[str, Callable[[Path], Iterator[Found]]]:
    return {
        ".jsonl.gz": lambda path: _read_json(_members(path.read_bytes())),
        ".jsonl": lambda path: _read_json(_lines(path.read_bytes())),
        ".warc.gz": lambda path: _read_warc(_members(path.read_bytes())),
        ".warc": lambda path: _read_warc(_warc_records(path.read_bytes())),
        ".html": lambda path: _read_combined(path.read_bytes(), rb"<!-- sheaf separator (\w+) -->\n", _HTML_HEADING),
        ".txt": lambda path: _read_combined(path.read_bytes(), rb"# sheaf separator (\w+)\n", _TEXT_HEADING),
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(data: bytes) -> Iterator[bytes]:
    lines = data.split(b"\n")
    if lines.pop():
        raise TornError("the last line has no end")
    yield from lines


def _members(data: bytes) -> Iterator[bytes]:
    """Yield what each gzip member holds; they must follow one another without a gap."""
    position = 0
    while position < len(data):
        packer = zlib.decompressobj(wbits=31)
        try:
            content = packer.decompress(data[position:])
        except zlib.error as error:
            raise TornError(f"the gzip member at byte {position} is broken: {error}") from error
        if not packer.eof:
            raise TornError(f"the gzip member at byte {position} has no end")
        yield content
        position = len(data) - len(packer.unused_data)


def _read_json(lines: Iterator[bytes]) -> Iterator[Found]:
    for number, line in enumerate(lines):
        try:
            page = json.loads(line)
            text = page["text"]
            body = base64.b64decode(page["body_base64"]) if text is None else text.encode()
            yield page["url"], _sha256(body)
        except (ValueError, KeyError, TypeError) as error:
            raise TornError(f"line {number} is not a whole JSON object: {error}") from error


def _read_combined(data: bytes, first_line: bytes, heading: bytes) -> Iterator[Found]:
    first = re.match(first_line, data)
    begin, word = (first.end(), first[1] + b" ") if first else (0, b"")
    marks = list(re.compile(heading % word, re.MULTILINE).finditer(data, begin))
    if (marks[0].start() if marks else len(data)) != begin:
        raise TornError("the file does not begin with a page's heading")
    ends = [mark.start() for mark in marks[1:]] + [len(data)]
    for mark, end in zip(marks, ends, strict=True):
        yield mark[2].decode(), _sha256(data[mark.end() : end])


def _warc_records(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        end = data.find(b"\r\n\r\n", position)
        length = re.search(rb"\r\nContent-Length: (\d+)", data[position : end + 2])
        if end < 0 or length is None:
            raise TornError(f"the WARC record at byte {position} has no whole head")
        stop = end + 4 + int(length[1]) + 4
        yield data[position:stop]
        position = stop


def _read_warc(records: Iterator[bytes]) -> Iterator[Found]:
    """A warcinfo, then for each page its request and its response, side by side."""
    requested = None
    for number, record in enumerate(records):
        kind, url, block = _parse_warc(number, record)
        if (kind == "warcinfo") != (number == 0):
            raise TornError(f"WARC record {number} is a {kind}")
        if kind == "request":
            if requested is not None:
                raise TornError(f"the request of {requested} has no response")
            requested = url
        elif kind == "response":
            if url != requested:
                raise TornError(f"the response of {url} follows the request of {requested}")
            requested = None
            yield url, _sha256(block.partition(b"\r\n\r\n")[2])
    if requested is not None:
        raise TornError(f"the request of {requested} has no response")


def _parse_warc(number: int, record: bytes) -> tuple[str, str, bytes]:
    head, _, rest = record.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = {name: value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    length = int(fields.get(b"Content-Length", b"-1"))
    if lines[0] != b"WARC/1.1" or rest[length:] != b"\r\n\r\n":
        raise TornError(f"WARC record {number} is not whole")
    return fields[b"WARC-Type"].decode(), fields.get(b"WARC-Target-URI", b"").decode(), rest[:length]


def _read_with_warcio(output: Path) -> None:
    """Read a web archive with another project's reader, digests included."""
    if ".warc" not in output.name or importlib.util.find_spec("warcio") is None:
        return
    from warcio.archiveiterator import ArchiveIterator

    with open(output, "rb") as stream:
        try:
            for record in ArchiveIterator(stream, check_digests="raise"):
                record.content_stream().read()
        except Exception as error:
            raise TornError(f"warcio cannot read the file: {type(error).__name__}: {error}") from error
