"""Packers for every content coding, for tests: what each is called, and what may be missing at its end."""

from __future__ import annotations

import gzip
import struct
import sys
import zlib
from collections.abc import Callable

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ("KINDS", "Pack", "bare_deflate", "gzip_with_everything", "zstd", "zstd_checked")

Pack = Callable[[bytes], bytes]


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def gzip_with_everything(body: bytes) -> bytes:
    """A member whose header has all that it may have: extra field, name, comment, checksum."""
    header = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + b"\x05\0extra" + b"page.html\0" + b"a comment\0"
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    return header + bare_deflate(body) + struct.pack("<II", zlib.crc32(body), len(body))


def zstd_checked(body: bytes) -> bytes:
    return zstd.compress(body, options={zstd.CompressionParameter.checksum_flag: 1})


#: Name of the coding, a packer, and how many bytes after the end of the text may be missing: checksums.
KINDS: dict[str, tuple[str, Pack, int]] = {
    "gzip": ("gzip", gzip.compress, 8),
    "gzip-header": ("x-gzip", gzip_with_everything, 8),
    "zlib": ("deflate", zlib.compress, 4),
    "bare deflate": ("deflate", bare_deflate, 0),
    "br": ("br", lambda body: brotli.compress(body, quality=4), 0),
    "zstd": ("zstd", zstd.compress, 0),
    "zstd-checked": ("zstd", zstd_checked, 0),
}
