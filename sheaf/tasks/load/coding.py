"""Content codings (gzip, deflate, br, zstd): removing them, as browsers do, and noticing a stream that is cut short.

libcurl could do this, but says nothing of a stream that ends early, refuses what browsers let pass, and inflates every
chunk whole, however large it becomes. Here a body is unpacked when all of it has come, one body at a time, and never
beyond a limit: bodies that are on their way, or that wait, are held packed (docs/decisions/0039-content-codings.md).
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, cast

from isal import igzip_lib

#: Bytes put into a decompressor at a time, and asked of it. More would be fresh memory from the kernel, page by page.
_IN_BYTES, _OUT_BYTES = 64 << 10, 512 << 10
#: Within this many bytes the end of a brotli stream is looked for byte by byte.
_SLICE_BYTES = 4096
#: No honest server packs a body more often, or puts it together from more gzip members or zstd frames.
_MOST_CODINGS, _MOST_STREAMS = 5, 10_000
#: The largest window that a zstd frame may ask for: 8 MiB, as RFC 9659 has it.
_ZSTD_WINDOW_LOG = 23
_CODING_LINE = re.compile(rb"^content-encoding[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_GZIP_HEADER_BYTES = 10
#: Flags in a gzip header: what follows it.
_CHECKSUM, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16


class BadCoding(Exception):
    """A body is not what its Content-Encoding says; the message is the decompressor's."""


class Unpacked(NamedTuple):
    body: bytes
    #: Whether the packed stream ends before its end mark; `body` is what it held until there.
    cut: bool = False
    #: Whether there is more than the limit; `body` is the start.
    larger: bool = False


class _Kind(NamedTuple):
    """A kind of stream, and a decompressor for it that has the interface of bz2's."""

    make: Callable[[], Any]
    error: type[Exception]
    #: How another stream of this kind begins that follows the first; none: whatever follows is left out.
    starts: tuple[bytes, ...] = ()


#: isal's own types say that this is an exception, not a class of them.
_ISAL_ERROR = cast(type[Exception], igzip_lib.IsalError)
_GZIP = _Kind(partial(igzip_lib.IgzipDecompressor, igzip_lib.DECOMP_GZIP), _ISAL_ERROR, (b"\x1f\x8b",))
_ZLIB = _Kind(partial(igzip_lib.IgzipDecompressor, igzip_lib.DECOMP_ZLIB), _ISAL_ERROR)
_DEFLATE = _Kind(partial(igzip_lib.IgzipDecompressor, igzip_lib.DECOMP_DEFLATE), _ISAL_ERROR)


def codings_of(head: bytes) -> tuple[str, ...]:
    """Return the content codings that header lines name, in the order in which they were applied; mostly none."""
    return _names(b",".join(_CODING_LINE.findall(head)))


@lru_cache(maxsize=256)
def _names(value: bytes) -> tuple[str, ...]:
    names = (name.strip().lower() for name in value.decode("latin-1").split(","))
    return tuple(name for name in names if name not in ("", "identity"))


def unpack(body: bytes, codings: tuple[str, ...], limit: int) -> Unpacked:
    """Remove the codings, the last one first; never return, or hold of any one, more than `limit`. Raises BadCoding.

    An unknown coding is left alone, as browsers do. Many are none at all (`utf-8`, `binary`), so what was applied
    before it is removed too, if it is there.
    """
    if sum(coding in _UNPACKERS for coding in codings) > _MOST_CODINGS:
        raise BadCoding(f"that is more than {_MOST_CODINGS} of them")
    cut = larger = unsure = False
    for coding in reversed(codings):
        unpacker = _UNPACKERS.get(coding)
        if unpacker is None:
            unsure = True
            continue
        if not body:
            break
        try:
            layer = unpacker(body, limit)
        except BadCoding:
            if unsure:
                break
            raise
        body, cut, larger = layer.body, cut or layer.cut, larger or layer.larger
    return Unpacked(body, cut, larger)


def _gunzip(data: bytes, limit: int) -> Unpacked:
    """All members, one after the other. Without the last one's checksum the text is whole all the same."""
    unpacked, last = _unpack_streams(data, limit, _GZIP)
    whole = unpacked.cut and _is_whole_deflate(data, _after_gzip_header(data, last))
    return unpacked._replace(cut=False) if whole else unpacked


def _inflate(data: bytes, limit: int) -> Unpacked:
    """A zlib stream, as the standard has it; a bare deflate stream, as some servers have it."""
    # No bare stream begins like this, unless it was crafted.
    if data[0] & 15 != 8 or int.from_bytes(data[:2]) % 31 != 0:
        return _unpack_streams(data, limit, _DEFLATE)[0]
    unpacked, _ = _unpack_streams(data, limit, _ZLIB)
    whole = unpacked.cut and _is_whole_deflate(data, 2)
    return unpacked._replace(cut=False) if whole else unpacked


def _unzstd(data: bytes, limit: int) -> Unpacked:
    return _unpack_streams(data, limit, _zstd())[0]


def _unpack_streams(data: bytes, limit: int, kind: _Kind) -> tuple[Unpacked, int]:
    """Unpack a stream and those that follow it; return also where the last of them begins."""
    pieces: list[bytes] = []
    view, room, at = memoryview(data), limit + 1, 0
    for _ in range(_MOST_STREAMS):
        decompressor, begin = kind.make(), at
        while not decompressor.eof and room > 0:
            # In slices: what follows a stream's end is copied.
            chunk = view[at : at + _IN_BYTES] if decompressor.needs_input else b""
            if decompressor.needs_input and not chunk:
                return Unpacked(b"".join(pieces), cut=True), begin
            at += len(chunk)
            try:
                pieces.append(decompressor.decompress(chunk, min(room, _OUT_BYTES)))
            except kind.error as error:
                raise BadCoding(str(error)) from error
            room -= len(pieces[-1])
        if room <= 0:
            return _start(pieces, 1 - room), begin
        at -= len(decompressor.unused_data)
        if not data.startswith(kind.starts, at):
            return Unpacked(b"".join(pieces)), begin
    raise BadCoding(f"more than {_MOST_STREAMS:,} streams, one after the other")


def _start(pieces: list[bytes], excess: int) -> Unpacked:
    """What is more than the limit, without the last bytes of it."""
    pieces[-1] = pieces[-1][:-excess]
    return Unpacked(b"".join(pieces), larger=True)


def _is_whole_deflate(data: bytes, begin: int) -> bool:
    """Whether the bare deflate stream that begins there comes to its end."""
    decompressor = _DEFLATE.make()
    try:
        decompressor.decompress(memoryview(data)[begin:], _OUT_BYTES)
        while not decompressor.eof and not decompressor.needs_input:
            decompressor.decompress(b"", _OUT_BYTES)
    except _ISAL_ERROR:
        return False  # within its wrapping, the same bytes had only not come to their end
    return bool(decompressor.eof)


def _after_gzip_header(data: bytes, begin: int) -> int:
    """Where the deflate stream of the gzip member begins; the end of the data if its header is not whole."""
    at = begin + _GZIP_HEADER_BYTES
    if at > len(data):
        return len(data)
    flags = data[begin + 3]
    if flags & _EXTRA:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            at = data.find(b"\0", at) + 1 or len(data)
    return at + 2 if flags & _CHECKSUM else at


@cache
def _zstd() -> _Kind:
    """Imported when first needed, as below: most bodies are plain, or gzip."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
    skippable = (bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))
    return _Kind(partial(zstd.ZstdDecompressor, options=options), zstd.ZstdError, (b"\x28\xb5\x2f\xfd", *skippable))


def _unbrotli(data: bytes, limit: int) -> Unpacked:
    import brotli

    try:
        return _run_brotli(brotli.Decompressor(), data, limit)
    except brotli.error as error:
        # It may be what follows the stream: the library takes that for an error, others leave it out.
        end = _end_of_brotli(data)
        if end is None:
            raise BadCoding(str(error)) from error
    return _run_brotli(brotli.Decompressor(), data[:end], limit)


def _run_brotli(decompressor: Any, data: bytes, limit: int) -> Unpacked:
    pieces, size = [], 0
    for piece in _brotli_pieces(decompressor, data):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            return _start(pieces, size - limit)
    return Unpacked(b"".join(pieces), cut=not decompressor.is_finished())


def _brotli_pieces(decompressor: Any, data: bytes) -> Iterator[bytes]:
    """What the data unpacks to, a bounded piece at a time."""
    piece = decompressor.process(data, output_buffer_limit=_OUT_BYTES)
    # The decompressor takes in more than it has given out; that it could accept more does not say that this is all.
    while piece:
        yield piece
        if decompressor.is_finished():
            return
        piece = decompressor.process(b"", output_buffer_limit=_OUT_BYTES)


def _end_of_brotli(data: bytes) -> int | None:
    """Where a stream ends that something follows; None if it is broken."""
    import brotli

    end = 0
    for step in (_SLICE_BYTES, 1):
        decompressor = brotli.Decompressor()
        try:
            deque(_brotli_pieces(decompressor, data[:end]), maxlen=0)
            while end < len(data):
                deque(_brotli_pieces(decompressor, data[end : end + step]), maxlen=0)
                end += step
                if decompressor.is_finished():
                    return end
        except brotli.error:
            continue  # within this slice: once more, up to there, and then byte by byte
    return None


_UNPACKERS: dict[str, Callable[[bytes, int], Unpacked]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
