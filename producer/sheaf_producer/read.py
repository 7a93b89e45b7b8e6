"""Read lists: files, several of them, standard input, gzipped or not; one line at a time, whatever lies in them."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, NamedTuple, cast

from sheaf.errors import InputError

#: A longer line is rejected; no item needs one, and a file without line ends must not fill the memory.
LINE_LIMIT_BYTES = 64 * 1024
#: What a file starts with that we could read only after somebody unpacked or converted it, and how to.
_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; use `zstd -dc FILE | sheaf load -`"),
    (b"BZh", "is compressed with bzip2; use `bzip2 -dc FILE | sheaf load -`"),
    (b"\xfd7zXZ\x00", "is compressed with xz; use `xz -dc FILE | sheaf load -`"),
    (b"\xff\xfe", "is UTF-16 text; use `iconv -f utf-16 -t utf-8 FILE | sheaf load -`"),
    (b"\xfe\xff", "is UTF-16 text; use `iconv -f utf-16 -t utf-8 FILE | sheaf load -`"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line of input; `problem` says why it cannot be used, if so (`text` is then what can be shown of it)."""

    source: str
    number: int
    text: str
    problem: str | None = None


def read_lists(names: Sequence[str]) -> Iterator[Line]:
    """Yield every line that is neither blank nor a comment. `-` is standard input.

    Raises InputError for a list that cannot be opened, unpacked or read on; a bad line is yielded with its problem.
    """
    for name in names:
        try:
            with _open(name) as raw:
                yield from _lines("standard input" if name == "-" else name, _unpacked(name, raw))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{name} is gzipped, but damaged or cut short ({error}); bring a whole copy") from error
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


def check_lists(names: Sequence[str]) -> None:
    """Raise InputError now for a list that is not there, rather than after the ones before it have been read."""
    for name in names:
        path = Path(name)
        if name == "-":
            continue
        if path.is_dir():
            raise InputError(
                f"{name} is a folder; name the files in it, one after the other (for example {name.rstrip('/')}/*.txt)"
            )
        if not path.exists():
            raise InputError(
                f"there is no file {name} in {Path.cwd()}; give the path of a list, or - for standard input"
            )
    if names.count("-") > 1:
        raise InputError("standard input (-) can be read only once")


def _open(name: str) -> AbstractContextManager[io.BufferedReader]:
    if name != "-":
        return open(name, "rb")
    if sys.stdin is None:
        raise InputError("standard input is closed; pipe a list into it, or name a file")
    return nullcontext(cast(io.BufferedReader, sys.stdin.buffer))


def _unpacked(name: str, raw: io.BufferedReader) -> IO[bytes]:
    """Tell gzip and foreign formats by content, not by name: what comes through a pipe has none."""
    start = raw.peek(8)
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            raise InputError(f"{name} {what.replace('FILE', name)}")
    return cast(IO[bytes], gzip.open(raw, "rb")) if start.startswith(b"\x1f\x8b") else raw


def _lines(source: str, stream: IO[bytes]) -> Iterator[Line]:
    number = 0
    while data := stream.readline(LINE_LIMIT_BYTES + 1):
        number += 1
        if len(data) > LINE_LIMIT_BYTES:
            size = len(data) + _skip_line(stream)
            yield Line(
                source, number, _show(data), f"the line is {size:,} bytes long; {LINE_LIMIT_BYTES:,} are allowed"
            )
            continue
        if number == 1:
            data = data.removeprefix(_BYTE_ORDER_MARK)
        data = data.strip()
        if not data or data.startswith(b"#"):
            continue
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            byte = data[error.start]
            yield Line(
                source,
                number,
                _show(data),
                f"byte {error.start + 1} (0x{byte:02x}) is not UTF-8; is the file in another encoding, or not text?",
            )
            continue
        if "\0" in text:
            yield Line(source, number, _show(data), "the line holds a zero byte; is the file text?")
            continue
        yield Line(source, number, text)


def _skip_line(stream: IO[bytes]) -> int:
    """Read on to the line's end; return how many bytes that was."""
    skipped = 0
    while data := stream.readline(LINE_LIMIT_BYTES):
        skipped += len(data)
        if data.endswith(b"\n"):
            break
    return skipped


def _show(data: bytes) -> str:
    return data[:200].decode(errors="backslashreplace")
