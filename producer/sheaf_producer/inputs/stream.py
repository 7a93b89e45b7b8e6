"""From a name to its bytes: a file or standard input, unpacked, and the same from its beginning to its end."""

from __future__ import annotations

import gzip
import io
import os
import shlex
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, NamedTuple, cast

from sheaf.errors import InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes that are read at once.
BLOCK_BYTES = 1 << 20
#: What a file starts with that we could read only after somebody unpacked or converted it, and how to.
_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive; unpack it first"),
    (b"BZh", "is compressed with bzip2; use `bzip2 -dc FILE | sheaf … -`"),
    (b"\xfd7zXZ\x00", "is compressed with xz; use `xz -dc FILE | sheaf … -`"),
    (b"\xff\xfe", "is UTF-16 text; use `iconv -f utf-16 -t utf-8 FILE | sheaf … -`"),
    (b"\xfe\xff", "is UTF-16 text; use `iconv -f utf-16 -t utf-8 FILE | sheaf … -`"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Line(NamedTuple):
    """One line of input; `problem` says why it cannot be used, if so (`text` is then what can be shown of it)."""

    source: str
    number: int
    text: str
    problem: str | None = None


#: Told of a line that cannot be used.
Reject = Callable[[Line], None]


def check_inputs(names: Sequence[str]) -> None:
    """Raise InputError now for an input that is not there, rather than after the ones before it have been read."""
    for name in names:
        path = Path(name)
        if name == "-":
            continue
        if path.is_dir():
            raise InputError(
                f"{name} is a folder; name the files in it, one after the other (for example {name.rstrip('/')}/*.txt)"
            )
        if name.startswith(("http://", "https://")):
            raise InputError(
                f"{name} is a URL; what is wanted is a file with one URL a line. For one: "
                f"echo {shlex.quote(name)} | sheaf load -"
            )
        if not path.exists():
            raise InputError(
                f"there is no file {name} in {Path.cwd()}; give the path of a list, or - for standard input"
            )
    if names.count("-") > 1:
        raise InputError("standard input (-) can be read only once")


def shown_name(name: str) -> str:
    return "standard input" if name == "-" else name


def blocks(name: str) -> Iterator[bytes]:
    """Yield the input's bytes, unpacked, block by block. `-` is standard input.

    Raises InputError if it cannot be opened, unpacked or read on, and if somebody changes the file meanwhile: what was
    read would be neither the old file nor the new one. A file that is removed meanwhile is read to its end.
    """
    try:
        with _open(name) as raw:
            yield from _watched(name, raw)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


def _watched(name: str, raw: io.BufferedReader) -> Iterator[bytes]:
    watched = _Watched(name, raw)
    kind, unpacked = _unpacked(name, raw)
    mark = _BYTE_ORDER_MARK
    try:
        with unpacked as stream:
            while block := stream.read(BLOCK_BYTES):
                watched.check()
                yield block.removeprefix(mark)
                mark = b""
    except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        watched.check()
        raise InputError(f"{name} is {kind}, but damaged or cut short ({error}); bring a whole copy") from error
    watched.check()


def _open(name: str) -> AbstractContextManager[io.BufferedReader]:
    if name != "-":
        return open(name, "rb")
    if sys.stdin is None:
        raise InputError("standard input is closed; pipe a list into it, or name a file")
    return nullcontext(cast(io.BufferedReader, sys.stdin.buffer))


def _unpacked(name: str, raw: io.BufferedReader) -> tuple[str, AbstractContextManager[IO[bytes]]]:
    """Tell compression and foreign formats by content, not by name: what comes through a pipe has none."""
    start = raw.peek(8)
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            raise InputError(f"{name} {what.replace('FILE', name)}")
    if start.startswith(_GZIP):
        return "gzipped", cast(AbstractContextManager[IO[bytes]], gzip.open(raw, "rb"))
    if start.startswith(_ZSTD):
        return "packed by zstd", cast(AbstractContextManager[IO[bytes]], zstd.open(raw, "rb"))
    return "as it is", nullcontext(raw)


class _Watched:
    """A file as it was when it was opened."""

    def __init__(self, name: str, raw: io.BufferedReader) -> None:
        self._name = name
        self._raw = raw
        self._was = self._look()

    def check(self) -> None:
        """Raise InputError if the file has changed since."""
        was, now = self._was, self._look()
        if now == was:
            return
        size = f"from {was[0]:,} to {now[0]:,} bytes" if now[0] != was[0] else "its content"
        raise InputError(
            f"{self._name} was changed while it was read ({size}), so nothing was submitted. Submit when it is at "
            f"rest, or take what is in it now: `cat {self._name} | sheaf … -`"
        )

    def _look(self) -> tuple[int, int]:
        try:
            status = os.fstat(self._raw.fileno())
        except (OSError, ValueError):
            return 0, 0  # no file behind it, as in a test or a notebook
        return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)
