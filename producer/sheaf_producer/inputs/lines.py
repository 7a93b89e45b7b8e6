"""Lines of text: each line is an item, as it is; blank lines are left out.

In every reader a line ends as in Python's text files: with LF, CR LF, or CR alone. Nothing else ends one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from sheaf.submission.tally import Line
from sheaf_producer.inputs.stream import Reject

#: The largest item, in bytes.
ITEM_LIMIT_BYTES = 64 << 20
_LINE_END = re.compile(rb"\r\n?|\n")


class Chunk(NamedTuple):
    """Whole lines, with their ends; the last line of an input may have none. `number` is the first one's, from 1."""

    number: int
    data: bytes


def chunks(
    source: str, blocks: Iterator[bytes], limit_bytes: int, reject: Reject, *, keep_ends: bool = False
) -> Iterator[Chunk]:
    """Yield whole lines, many at once, each with LF as its end; or with its own, if that belongs to a field of a table.

    A line of more than the limit is rejected, however long: it fills no memory. Only a line that is longer than a block
    is measured here; the caller measures the others.
    """
    number, held, size = 1, [b""], 0
    for block in _whole_ends(blocks):
        begin = 0
        if size > limit_bytes:
            # In a line that is too long: look for its end.
            found = _LINE_END.search(block)
            begin = found.end() if found else 0
            size += begin or len(block)
            if begin == 0:
                continue
            reject(too_long(source, number, size, held[0], limit_bytes))
            number, held, size = number + 1, [b""], 0
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if end > begin:
            data = b"".join([*held, block[begin:end]])
            with_lf = _with_lf(data)
            yield Chunk(number, data if keep_ends else with_lf)
            number, held, size, begin = number + with_lf.count(b"\n"), [b""], 0, end
        held.append(block[begin:])
        size += len(block) - begin
        if size > limit_bytes:
            held = [b"".join(held)[:200]]
    if size > limit_bytes:
        reject(too_long(source, number, size, held[0], limit_bytes))
    elif size:
        yield Chunk(number, b"".join(held))


def _whole_ends(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, but that none ends between CR and LF."""
    held = b""
    for block in blocks:
        whole = held + block if held else block
        held = b"\r" if whole.endswith(b"\r") else b""
        yield whole[:-1] if held else whole
    if held:
        yield held


def _with_lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def too_long(source: str, number: int, size: int, start: bytes, limit_bytes: int) -> Line:
    return Line(source, number, show(start), f"the line is {size:,} bytes long; {limit_bytes:,} are allowed")


def read_lines(source: str, blocks: Iterator[bytes], reject: Reject) -> Iterator[list[str]]:
    """Yield the lines that are not blank, without their ends, many at once."""
    for chunk in chunks(source, blocks, ITEM_LIMIT_BYTES, reject):
        try:
            text = chunk.data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text or len(chunk.data) > ITEM_LIMIT_BYTES:
            yield [line.text for line in good_lines(source, chunk, ITEM_LIMIT_BYTES, reject)]
            continue
        yield list(filter(str.strip, text.split("\n")))


def good_lines(source: str, chunk: Chunk, limit_bytes: int, reject: Reject) -> Iterator[Line]:
    """Look at each line of a chunk: yield those that are text and not blank, reject what is not text."""
    for line in checked_lines(source, chunk, limit_bytes):
        if line.problem is not None:
            reject(line)
        else:
            yield line


def checked_lines(source: str, chunk: Chunk, limit_bytes: int) -> Iterator[Line]:
    """Yield each line that is not blank, without its end; one that is not text with the reason."""
    for number, data in enumerate(io.BytesIO(chunk.data), start=chunk.number):
        if len(data) > limit_bytes:
            yield too_long(source, number, len(data), data, limit_bytes)
            continue
        try:
            text = data.removesuffix(b"\n").decode()
        except UnicodeDecodeError as error:
            byte = data[error.start]
            why = f"byte {error.start + 1} (0x{byte:02x}) is not UTF-8; is the file in another encoding, or not text?"
            yield Line(source, number, show(data), why)
            continue
        if "\0" in text:
            yield Line(source, number, show(data), "the line holds a zero byte; is the file text, and not UTF-16?")
        elif text.strip():
            yield Line(source, number, text)


def show(data: bytes) -> str:
    """What can be shown of a line that is not text."""
    return data[:200].strip().decode(errors="backslashreplace")
