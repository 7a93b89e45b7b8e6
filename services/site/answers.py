"""What the local test site answers to which address. Standard library only."""

from __future__ import annotations

import functools
import hashlib
import http
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from pages import Counts, Pages

CHUNK_BYTES = 4096
HTML = b"text/html; charset=utf-8"


@dataclass(slots=True)
class Reply:
    """One answer, and when and how fast it goes out."""

    status: int
    body: bytes
    kind: bytes = b"text/plain; charset=utf-8"
    more: bytes = b""
    chunked: bool = False
    delay_s: float = 0.0
    bytes_per_s: int = 0

    def wire(self, *, head_only: bool, close: bool) -> bytes:
        """Return the answer's bytes. Nothing in them depends on the time."""
        length = b"Transfer-Encoding: chunked\r\n" if self.chunked else b"Content-Length: %d\r\n" % len(self.body)
        head = b"HTTP/1.1 %d %s\r\nServer: sheaf-site\r\nContent-Type: %s\r\n%s%s%s\r\n" % (
            self.status,
            _reason(self.status),
            self.kind,
            length,
            self.more,
            b"Connection: close\r\n" if close else b"",
        )
        if head_only:
            return head
        return head + (b"".join(_chunks(self.body)) if self.chunked else self.body)


class Site:
    """Turns a request's target into a reply."""

    def __init__(self, pages: Pages, counts: Counts, help_text: str) -> None:
        self.counts = counts
        self._pages = pages
        self._help = help_text
        self._gzipped = functools.lru_cache(maxsize=256)(self._gzip)

    def reply(self, target: str, host: str) -> Reply:
        """Answer one request. Raises ValueError for an option that cannot be understood."""
        path, _, query = target.partition("?")
        digits = path.removeprefix("/page/")
        if digits.isascii() and digits.isdigit():
            return self._page(int(digits), path, query)
        options = dict(parse_qsl(query))
        match path:
            case "/health":
                text = "ok\n"
            case "/urls":
                text = "".join(url_list(f"http://{host}", options))
            case "/sums":
                text = "".join(self._sums(options))
            case "/stats":
                return Reply(200, self._stats(options), b"application/json")
            case "/":
                text = self._help
            case _:
                return Reply(404, b"no such page; / says what there is\n")
        return Reply(200, text.encode())

    def _page(self, number: int, path: str, query: str) -> Reply:
        self.counts.add_page(number)
        if not query:
            return Reply(200, self._pages.body(number), HTML)
        options = dict(parse_qsl(query))
        delay_s = int(options.get("latency", 0)) / 1000
        status = int(options.get("status", 200))
        if status != 200 and ("times" not in options or self.counts.page(number) <= int(options["times"])):
            return Reply(status, b"status %d, as asked for\n" % status, delay_s=delay_s)
        if "redirect" in options:
            return Reply(302, b"over there\n", more=_location(path, options), delay_s=delay_s)
        body, more = self._pages.body(number), b""
        if "gzip" in options:
            body, more = self._gzipped(number), b"Content-Encoding: gzip\r\n"
        bytes_per_s = int(options.get("slow", 0))
        return Reply(200, body, HTML, more, chunked="chunked" in options, delay_s=delay_s, bytes_per_s=bytes_per_s)

    def _gzip(self, number: int) -> bytes:
        packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return packer.compress(self._pages.body(number)) + packer.flush()

    def _sums(self, options: dict[str, str]) -> Iterator[str]:
        for number in _page_range(options):
            body = self._pages.body(number)
            yield f"{number} {hashlib.sha256(body).hexdigest()} {len(body)}\n"

    def _stats(self, options: dict[str, str]) -> bytes:
        hits = [self.counts.page(number) for number in range(int(options.get("pages", 0)))]
        return json.dumps({"requests": self.counts.requests, "bytes": self.counts.bytes, "hits": hits}).encode()


def url_list(base: str, options: dict[str, str]) -> Iterator[str]:
    """Yield the pages' addresses as lines: `count` of them from `first` on, each with all the other options."""
    numbers = _page_range(options)
    rest = {name: value for name, value in options.items() if name not in ("first", "count")}
    query = f"?{urlencode(rest)}" if rest else ""
    return (f"{base}/page/{number}{query}\n" for number in numbers)


def _page_range(options: dict[str, str]) -> range:
    first = int(options.get("first", 0))
    return range(first, first + int(options.get("count", 100)))


def _location(path: str, options: dict[str, str]) -> bytes:
    """One redirect less; the last one leads to the page."""
    left = int(options["redirect"]) - 1
    rest = {name: value for name, value in options.items() if name != "redirect"} | (
        {"redirect": str(left)} if left > 0 else {}
    )
    query = f"?{urlencode(rest)}" if rest else ""
    return f"Location: {path}{query}\r\n".encode()


@functools.cache
def _reason(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), CHUNK_BYTES):
        piece = body[start : start + CHUNK_BYTES]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
