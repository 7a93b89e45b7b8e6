"""From a name to its bytes: a file or standard input, unpacked, and the same from its beginning to its end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shlex
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, cast

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf_producer.inputs.opening import Stream, descriptor_of, open_input, status_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes that are read at once.
BLOCK_BYTES = 1 << 20
#: How files begin that have to be unpacked or converted first, and how to do that.
_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive; unpack it first"),
    (b"\xff\xfe\0\0", "is UTF-32 text; use `iconv -f utf-32 -t utf-8 FILE | sheaf … -`"),
    (b"\0\0\xfe\xff", "is UTF-32 text; use `iconv -f utf-32 -t utf-8 FILE | sheaf … -`"),
    (b"\xff\xfe", "is UTF-16 text; use `iconv -f utf-16 -t utf-8 FILE | sheaf … -`"),
    (b"\xfe\xff", "is UTF-16 text; use `iconv -f utf-16 -t utf-8 FILE | sheaf … -`"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP, _ZSTD, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
#: A line of text may well begin with BZh: after its level comes the beginning of a block, or the end of no blocks.
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY|\x17rE)")
#: Bytes that tell compression and foreign formats.
_MAGIC_BYTES = 10


#: Called for a line that cannot be used.
Reject = Callable[[Line], None]


def check_inputs(names: Sequence[str]) -> None:
    """Raise InputError now for an input that cannot be read, rather than after the ones before it have been."""
    if names.count("-") > 1:
        raise InputError("standard input (-) can be read only once")
    pipes: dict[tuple[int, int], str] = {}
    for name in names:
        status = _checked_status(name)
        if status is None:
            continue
        if stat.S_ISREG(status.st_mode):
            _check_rights(name)
        elif stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            other = pipes.setdefault((status.st_dev, status.st_ino), name)
            if other is not name:
                both = other if other == name else f"{shown_name(other)} and {shown_name(name)}"
                raise InputError(f"{both}: the same pipe cannot be read twice; name it once")


def _checked_status(name: str) -> os.stat_result | None:
    try:
        status = status_of(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        if name.startswith(("http://", "https://")):
            raise InputError(
                f"{name} is a URL, but a file with one URL per line is expected. For a single URL: "
                f"echo {shlex.quote(name)} | sheaf load -"
            ) from error
        raise InputError(
            f"there is no file {name} in {Path.cwd()}; give the path of a list, or - for standard input"
        ) from error
    except OSError as error:
        raise InputError(f"{name} cannot be examined: {error.strerror}") from error
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a folder; name the files in it (for example {name.rstrip('/')}/*.txt)")
    if status is not None and stat.S_ISSOCK(status.st_mode) and name != "-" and descriptor_of(name) is None:
        raise InputError(f"{name} is a socket, from which no list can be read; have its program write into a pipe")
    return status


def _check_rights(name: str) -> None:
    if name != "-":
        try:
            with open_input(name):
                pass
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror}") from error


def shown_name(name: str) -> str:
    return "standard input" if name == "-" else name


def blocks(name: str) -> Iterator[bytes]:
    """Yield the input's bytes, unpacked, block by block. `-` is standard input.

    Raises InputError if it cannot be opened, unpacked or read on, and if the file is changed meanwhile: what was
    read would be neither the old file nor the new one. A file that is removed meanwhile is read to its end.
    """
    try:
        with open_input(name) as raw:
            yield from _watched(name, raw)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


def _watched(name: str, raw: io.RawIOBase) -> Iterator[bytes]:
    watched = _Watched(name, raw)
    kind, unpacked = _unpacked(name, Stream(raw))
    mark = _BYTE_ORDER_MARK
    try:
        with unpacked as stream:
            while block := stream.read(BLOCK_BYTES):
                watched.check()
                yield block.removeprefix(mark)
                mark = b""
    except (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        watched.check()
        raise InputError(f"{name} is {kind}, but damaged or truncated ({error}); provide an intact copy") from error
    watched.check()


def _unpacked(name: str, stream: Stream) -> tuple[str, AbstractContextManager[IO[bytes]]]:
    """Tell compression and foreign formats by content, not by name: what comes through a pipe has none."""
    start = stream.begin(_MAGIC_BYTES)
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            raise InputError(f"{name} {what.replace('FILE', name)}")
    raw = io.BufferedReader(stream, BLOCK_BYTES)
    if start.startswith(_GZIP):
        return "gzipped", cast(AbstractContextManager[IO[bytes]], gzip.open(raw, "rb"))
    if start.startswith(_ZSTD):
        return "packed by zstd", cast(AbstractContextManager[IO[bytes]], zstd.open(raw, "rb"))
    if _BZIP2.match(start):
        return "packed by bzip2", bz2.open(raw, "rb")
    if start.startswith(_XZ):
        return "packed by xz", lzma.open(raw, "rb")
    return "as it is", raw


class _Watched:
    """A file as it was when it was opened."""

    def __init__(self, name: str, raw: io.RawIOBase) -> None:
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
            f"{self._name} changed while it was read ({size}), so nothing was submitted. Submit it when it no longer "
            f"changes, or use its present content: `cat {self._name} | sheaf … -`"
        )

    def _look(self) -> tuple[int, int]:
        try:
            status = os.fstat(self._raw.fileno())
        except (OSError, ValueError):
            return 0, 0  # no file descriptor, as in a test or a notebook
        return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)
