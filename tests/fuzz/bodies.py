"""Bodies: content codings, charsets, declarations."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib

import brotli

from sheaf.formats import Exchange, Page
from sheaf.formats.charset import as_utf8, decode, is_text, utf8_source
from sheaf.formats.declaration import declared
from sheaf.formats.decoders import name_of
from sheaf.run.items import Item
from sheaf.tasks.load.coding import BadCoding, unpack
from tests.fuzz.records import check_records
from tests.fuzz.target import number, split, target

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LIMIT = 20_000
_CODINGS = (
    *(("gzip",), ("deflate",), ("br",), ("zstd",), ("x-gzip", "br"), ("utf-8", "gzip"), ("gzip", "aws-chunked")),
    *(("gzip", "gzip"), ("zstd", "zstd", "zstd"), ("deflate", "identity")),
)
_TEXT = b"hello, hello, hello. " * 20
_RAW = zlib.compressobj(wbits=-15)
_META = (
    b'<!DOCTYPE html><!-- x --><html a="b"><head><meta http-equiv="Content-Type" content="text/html; charset=koi8-r">'
)
_LABELS = (
    b"utf-8",
    b"shift_jis",
    b"euc-jp",
    b"iso-2022-jp",
    b"gb18030",
    b"big5",
    b"euc-kr",
    b"x-user-defined",
    b"utf-16",
)


@target(
    b"\0" + gzip.compress(_TEXT),
    b"\0" + gzip.compress(b"a") + gzip.compress(b"b") + b"\0\0",
    b"\1" + zlib.compress(_TEXT),
    b"\1" + _RAW.compress(_TEXT) + _RAW.flush(),
    b"\2" + brotli.compress(_TEXT),
    b"\3" + zstd.compress(_TEXT),
    b"\1x?\xff\xff\xff",
    b"\7" + gzip.compress(gzip.compress(b"x" * 50_000)),
)
def coding(data: bytes) -> None:
    """What is unpacked is bounded; anything else is BadCoding."""
    which, body = number(data)
    codings = _CODINGS[which % len(_CODINGS)]
    try:
        unpacked = unpack(body, codings, _LIMIT)
    except BadCoding:
        return
    assert len(unpacked.body) <= max(_LIMIT, len(body))
    assert not unpacked.larger or len(unpacked.body) <= _LIMIT


@target(b"\0\10hello, hello", b"\1\0", b"\2\377" + _TEXT, b"\3\40" + _TEXT)
def coding_there_and_back(data: bytes) -> None:
    """What was packed comes out as it was; cut short it is a beginning of it, and says so unless nothing is missing."""
    which, rest = number(data)
    cut, text = number(rest)
    name, pack = (
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstd.compress),
    )[which % 4]
    packed = pack(text)
    assert unpack(packed, (name,), len(text)) == (text, False, False)
    assert unpack(packed + packed, (name,), 2 * len(text)).body in (text, 2 * text)
    if len(text) > 1:
        assert unpack(packed, (name,), len(text) - 1) == (text[:-1], False, True)
    short = packed[: min(cut, len(packed) - 1)]
    try:
        unpacked = unpack(short, (name,), len(text)) if short else None
    except BadCoding:
        unpacked = None
    if unpacked is not None:
        assert text.startswith(unpacked.body)
        assert unpacked.cut or unpacked.body == text


@target(
    b"text/html; charset=shift_jis\n\x83e\x83X\x83g",
    b"text/html\n" + _META,
    b"\n\xef\xbb\xbfabc",
    b'text/plain; charset=iso-2022-jp\n\x1b$B$"\x1b(B',
    b"text/plain\n\xff\xfea\0",
    b"text/xml\n<?xml version='1.0' encoding='euc-kr'?><a>\xb0\xa1</a>",
    tokens=(*(b"; charset=" + label for label in _LABELS), *_LABELS, b"\xe6\x97", b"\x1b$B", b"\x8f\xa1\xa1"),
)
def charset(data: bytes) -> None:
    """Every body is some text, and both ways to it lead to the same."""
    first, body = split(data)
    kind = first.decode("latin-1") or None
    is_text(kind, body)
    for cut in (False, True):
        found = decode(body, kind, cut=cut)
        assert found.source in ("bom", "header", "declaration", "guess")
        assert len(found.text) <= len(body) + 1
        assert as_utf8(body, kind, cut=cut) == found.text.encode()
    if utf8_source(body, kind) is not None:
        with contextlib.suppress(UnicodeDecodeError):
            assert decode(body, kind).text == body.decode()
    head = b"Content-Type: " + first + b"\r\n" if kind else b""
    exchange = Exchange("http://a/", b"GET / HTTP/1.1\r\n\r\n", "h2", 200, "OK", head, body, "::1", 1.0, 0.5)
    check_records(Page(Item(0, "http://a/"), [exchange]))


@target(
    _META,
    b"<meta charset=utf-8>",
    b"<?xml version='1.0' encoding='big5'?>",
    b"<script>'<meta charset=x>'</script><meta a='b' charset='gbk'>",
    b"<" * 500 + b"<meta charset=utf-8>",
    tokens=(
        b"<meta ",
        b"charset=",
        b"http-equiv=",
        b"content=",
        b"<!--",
        b"-->",
        b"<script>",
        b"</script",
        b"<a b='",
        b"/",
        b"\0",
    ),
)
def prescan(data: bytes) -> None:
    """A name that browsers know, or none; nothing beyond the first bytes matters to it."""
    found = declared(data)
    assert found is None or name_of(found) == found
    if len(data) >= 4096:
        assert declared(data[:4096] + b"<meta charset=koi8-r>") == declared(data[:4096])
