"""WARC 1.1: every request and every response, as web archives keep them. One gzip member per record."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
import zlib
from http import HTTPStatus

from isal import igzip_lib

from sheaf.core.errors import TaskError
from sheaf.core.version import __version__
from sheaf.formats.page import Exchange, Page, utc_date

#: Level 1 of isal packs a core's 4,000 pages a second; level 6 of zlib 800, for 10 % less.
_LEVEL = 1
#: For the small records of requests: level 1 would save a page's hundredth part, for four times the time.
_REQUEST_LEVEL = 0
#: For what is packed already: a gzip member that holds the bytes as they are. A quarter of the time, and hardly larger.
_STORED = -1
_GZIP = 16 + zlib.MAX_WBITS
_PACKED_TYPE = re.compile(
    rb"\ncontent-type:\s*(?:image/(?:jpe?g|png|gif|webp|avif|hei[cf]|jxl)|audio/(?!x?-?wav)|video/|font/woff"
    rb"|application/(?:zip|gzip|x-gzip|x-bzip2?|x-xz|zstd|x-7z-compressed|vnd\.rar|vnd\.openxml|epub|java-archive))"
)
#: Readers of archives bear so much in front of a block or a body: FastWARC stops at 32 KiB, and reads nothing after.
_MOST_HEAD_BYTES = 32_000
_MOST_URL_BYTES = 30_000
_FORTY_BITS = struct.Struct(">IBIBIBIB").unpack
#: Two digits of base 32 for every ten bits.
_TEN = [high + low for high in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" for low in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"]
_PAYLOAD_CODINGS = (b"transfer-encoding", b"content-length")
#: A cut line keeps so much.
_LEAST_LINE_BYTES = 80


class WarcFormat:
    """Pages as `request` and `response` records, redirects included; bodies stay content-encoded as received.

    The transfer coding is removed, and its header renamed to X-Orig-Transfer-Encoding: the standard's payload digest
    leaves it out, and readers that trust the header would fail on a body without it.

    A head of more than 32 KB, which readers stop at, is shortened: what is cut is renamed to X-Cut-…, and the record is
    marked as truncated.

    Compressed, a record has no block digest: its gzip member's CRC guards the same bytes, and more (decision 11).
    """

    keeps_coding = True

    def __init__(self, *, compressed: bool) -> None:
        self._compressed = compressed

    def header(self, name: str) -> bytes:
        block = (
            f"software: Sheaf/{__version__}\r\n"
            "format: WARC File Format 1.1\r\n"
            "conformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n"
        ).encode()
        fields = (
            f"WARC/1.1\r\nWARC-Type: warcinfo\r\nWARC-Record-ID: {_record_id(os.urandom(16).hex())}\r\n"
            f"WARC-Date: {utc_date(time.time())}\r\nWARC-Filename: {_one_line(name)}\r\n"
            f"WARC-Block-Digest: {_digest(block)}\r\n"
            f"Content-Type: application/warc-fields\r\nContent-Length: {len(block)}\r\n\r\n"
        ).encode()
        return self._record(fields, block)

    def page(self, page: Page) -> bytes:
        return b"".join([record for exchange in page.exchanges for record in self._exchange(exchange)])

    def value(self, index: int, text: str | int, value: object) -> bytes:  # noqa: ARG002
        raise TaskError(
            f"item {index} returned a {type(value).__name__}, but a WARC output holds loaded pages only; "
            "choose an output that ends with .jsonl"
        )

    def _exchange(self, exchange: Exchange) -> tuple[bytes, bytes]:
        if len(exchange.url) > _MOST_URL_BYTES:
            raise TaskError(
                f"{exchange.url[:80]}… has {len(exchange.url):,} characters, and readers of archives stop at "
                f"a record with more than {_MOST_URL_BYTES:,} in its address; load it into a .jsonl output"
            )
        random = os.urandom(32).hex()
        request_id, response_id = _record_id(random[:32]), _record_id(random[32:])
        common = (
            f"WARC-Target-URI: {exchange.url}\r\nWARC-Date: {utc_date(exchange.started)}\r\n"
            f"WARC-IP-Address: {exchange.ip}\r\n"
        )
        if exchange.protocol == "h2":
            common += "WARC-Protocol: h2\r\n"
        return self._request(exchange, common, request_id, response_id), self._response(exchange, common, response_id)

    def _request(self, exchange: Exchange, common: str, request_id: str, response_id: str) -> bytes:
        request, truncated = exchange.request, ""
        if len(request) > _MOST_HEAD_BYTES:
            request, truncated = _shortened(request), "WARC-Truncated: length\r\n"
        fields = (
            f"WARC/1.1\r\nWARC-Type: request\r\nWARC-Record-ID: {request_id}\r\n{common}{truncated}"
            f"WARC-Concurrent-To: {response_id}\r\n{self._block_digest(request)}"
            f"Content-Type: application/http; msgtype=request\r\nContent-Length: {len(request)}\r\n\r\n"
        ).encode()
        return self._record(fields, request, level=_REQUEST_LEVEL)

    def _response(self, exchange: Exchange, common: str, response_id: str) -> bytes:
        lowered = exchange.lowered
        head = _head(exchange, lowered)
        body = exchange.body
        truncated = f"WARC-Truncated: {exchange.truncated}\r\n" if exchange.truncated else ""
        if len(head) > _MOST_HEAD_BYTES:
            head, truncated = _shortened(head), truncated or "WARC-Truncated: length\r\n"
        fields = (
            f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: {response_id}\r\n{common}{truncated}"
            f"{self._block_digest(head, body)}WARC-Payload-Digest: {_digest(body)}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(head) + len(body)}\r\n\r\n"
        ).encode()
        return self._record(fields, head, body, level=_STORED if _is_packed(lowered) else _LEVEL)

    def _block_digest(self, *parts: bytes) -> str:
        return "" if self._compressed else f"WARC-Block-Digest: {_digest(*parts)}\r\n"

    def _record(self, *parts: bytes, level: int = _LEVEL) -> bytes:
        record = b"".join((*parts, b"\r\n\r\n"))
        if not self._compressed:
            return record
        if level == _STORED:
            return zlib.compress(record, 0, wbits=_GZIP)
        packed: bytes = igzip_lib.compress(record, level, igzip_lib.COMP_GZIP)
        return packed


def _head(exchange: Exchange, lowered: bytes) -> bytes:
    """The response's head, so that it fits the stored body: status line, header lines, blank line."""
    version = "HTTP/1.0" if exchange.protocol == "http/1.0" else "HTTP/1.1"
    status_line = f"{version} {exchange.status} {exchange.reason}\r\n".encode("latin-1", "replace")
    head = exchange.head
    find = lowered.find  # quicker than `in`, which first takes what it looks for to be a number
    fits = find(b"\ncontent-length: %d\r" % len(exchange.body)) >= 0 or find(b"\ncontent-length:") < 0
    if not fits or find(b"\ntransfer-encoding:") >= 0:
        head = _fitted(head, exchange)
    if head.count(b"\n") != head.count(b"\r\n"):
        # Lines that end with LF alone: FastWARC would take all of them for one, and lose the body.
        head = b"".join(line.removesuffix(b"\r") + b"\r\n" for line in head.split(b"\n")[:-1])
    return b"%s%s\r\n" % (status_line, head)


def _is_packed(lowered: bytes) -> bool:
    """Whether the header lines say that the body is packed already."""
    return lowered.find(b"\ncontent-encoding:") >= 0 or _PACKED_TYPE.search(lowered) is not None


def _fitted(head: bytes, exchange: Exchange) -> bytes:
    """Rename the headers that do not describe the stored body, and add the Content-Length that does.

    An answer that never has a body gets none; what a 304 says is the length of the page that it speaks of, and stays.
    """
    status, size = exchange.status, len(exchange.body)
    bodiless = size == 0 and status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
    misleading = _PAYLOAD_CODINGS[:1] if bodiless and status == HTTPStatus.NOT_MODIFIED else _PAYLOAD_CODINGS
    fitted = []
    for line in head.split(b"\n"):
        name = line.partition(b":")[0].strip().lower()
        fitted.append(b"X-Orig-" + line if name in misleading else line)
    return b"\n".join(fitted) if bodiless else b"%sContent-Length: %d\r\n" % (b"\n".join(fitted), size)


def _shortened(head: bytes) -> bytes:
    """Cut the longest header lines, under another name, until readers bear the head; drop the last ones if need be."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    excess = len(head) - _MOST_HEAD_BYTES
    for place in sorted(range(len(lines)), key=lambda place: -len(lines[place])):
        line = b"X-Cut-" + lines[place]
        kept = line[: max(_LEAST_LINE_BYTES, len(lines[place]) - excess)]
        if excess <= 0 or len(kept) >= len(lines[place]):
            break
        excess -= len(lines[place]) - len(kept)
        lines[place] = kept
    while excess > 0:
        excess -= len(lines.pop()) + 2
    return b"\r\n".join([first, *lines, b"", b""])


def _record_id(random: str) -> str:
    """What uuid.uuid4() makes (version 4, variant 1), in a fifth of the time, of 16 random bytes in hex digits."""
    return f"<urn:uuid:{random[:8]}-{random[8:12]}-4{random[13:16]}-a{random[17:20]}-{random[20:]}>"


def _digest(*parts: bytes) -> str:
    total = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        total.update(part)
    return "sha1:" + base32(total.digest())


def base32(digest: bytes) -> str:
    """Write 20 bytes as b32encode() does, in half the time: ten bits at a time, without a loop."""
    tops_and_tails = _FORTY_BITS(digest)
    first, second = tops_and_tails[0] << 8 | tops_and_tails[1], tops_and_tails[2] << 8 | tops_and_tails[3]
    third, fourth = tops_and_tails[4] << 8 | tops_and_tails[5], tops_and_tails[6] << 8 | tops_and_tails[7]
    return (
        f"{_TEN[first >> 30]}{_TEN[first >> 20 & 1023]}{_TEN[first >> 10 & 1023]}{_TEN[first & 1023]}"
        f"{_TEN[second >> 30]}{_TEN[second >> 20 & 1023]}{_TEN[second >> 10 & 1023]}{_TEN[second & 1023]}"
        f"{_TEN[third >> 30]}{_TEN[third >> 20 & 1023]}{_TEN[third >> 10 & 1023]}{_TEN[third & 1023]}"
        f"{_TEN[fourth >> 30]}{_TEN[fourth >> 20 & 1023]}{_TEN[fourth >> 10 & 1023]}{_TEN[fourth & 1023]}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
