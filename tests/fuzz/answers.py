"""What servers answer: status lines, heads, Location, Set-Cookie, Retry-After, Content-Type, and all of it at once."""

from __future__ import annotations

import socket
import zlib
from functools import cache
from typing import Any

import pycurl

from sheaf.formats import Exchange, Page
from sheaf.formats.media_type import charset_of, combined
from sheaf.run.items import Item
from sheaf.tasks.load.address import AddressGate
from sheaf.tasks.load.coding import codings_of
from sheaf.tasks.load.cookies import Cookies
from sheaf.tasks.load.errors import InvalidUrl, LoadError, Protocol, Redirect
from sheaf.tasks.load.failure import check_accepted, curl_failure, retry_after_s
from sheaf.tasks.load.head import final_head, status_of, values_of
from sheaf.tasks.load.memory import MemoryLimit
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.transfer import Transfer, _BorrowedSocket
from sheaf.tasks.load.trust import Trust
from sheaf.tasks.load.url import check_url, join_url, split_url
from sheaf.tasks.load.visit import Visit, target_of
from tests.fuzz.records import check_records
from tests.fuzz.target import split, target

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nSet-Cookie: a=b; Path=/\r\n\r\n"
_WORDS = (
    *(
        b"HTTP/1.1 ",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/2 302 \r\n",
        b" 100 ",
        b" 206 ",
        b" 301 ",
        b" 503 ",
        b"\r\n",
        b"\r\n\r\n",
    ),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Location: ", b"\n\t"),
    *(
        b"Set-Cookie: ",
        b"Retry-After: ",
        b"Content-Type: ",
        b"Content-Range: bytes 0-1/2",
        b"\r\n0\r\n\r\n",
        b"5\r\nhello",
    ),
)


@target(b"HTTP/1.1 200 OK\r\n", b"HTTP/2 302 \r\n", b"HTTP/1.0 404 Not Found\n", tokens=_WORDS)
def status_line(data: bytes) -> None:
    """Three digits, or Protocol."""
    try:
        protocol, status, reason = status_of(data)
    except Protocol as error:
        assert len(str(error)) < 1000
        return
    assert protocol in ("http/1.0", "http/1.1", "h2")
    assert 0 <= status <= 999
    assert "\n" not in reason and len(reason) <= len(data)


@target(
    _HEAD,
    b"HTTP/1.1 100 Continue\r\n\r\n" + _HEAD,
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\nHTTP/1.1: x\r\n\r\nTrailer: y\r\n\r\n",
    b"HTTP/1.1 301 Moved\nLocation: /caf\xe9\nContent-Encoding: gzip, br\n\n",
    tokens=_WORDS,
)
def head(data: bytes) -> None:
    """The final head is a part of what came, and all that is read out of it raises nothing."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    found = final_head(lines)
    if found is None:
        return
    first, rest = found
    assert len(first) + len(rest) <= len(data) + 2 * len(lines) + 2
    try:
        _, status, reason = status_of(first)
    except Protocol:
        return
    exchange = _exchange(status, reason, rest, b"")
    assert all("\n" not in name + value for name, value in exchange.headers)
    location = target_of(status, rest)
    assert location is None or (location and status // 100 == 3)
    assert all("\n" not in value for value in values_of(rest, b"set-cookie"))
    assert all(coding == coding.strip().lower() and coding for coding in codings_of(rest))
    assert exchange.content_type is None or "\n" not in exchange.content_type
    try:
        check_accepted(exchange, LoadOptions(), exchange.url)
    except LoadError as error:
        assert error.retry_after_s is None or error.retry_after_s >= 0


@target(
    b"text/html; charset=utf-8", b'text/html;charset="x\\"y", */*, text/plain', tokens=(b"charset=", b'"', b"\\", b",")
)
def content_type(data: bytes) -> None:
    """One media type comes of all the lines; it is read again as the same."""
    values = data.decode("latin-1").split("\n")
    one = combined(values)
    assert len(one) <= 2 * len(data) + 20
    charset = charset_of(one)
    assert charset is None or (charset and charset == charset.strip(" \t\r\n\f"))


@target(
    b"http://a.example/b/c\n../d?e#f",
    b"https://a/\n//b\\c",
    b"http://a/\n/caf\xe9 \xc3\xa9",
    tokens=(b"//", b"@", b"\\", b":"),
)
def location(data: bytes) -> None:
    """A redirect leads to a URL in normal form without credentials, or nowhere."""
    base, where = split(data)
    try:
        url = check_url(base.decode("latin-1"))
    except InvalidUrl:
        url = "http://a.example/b/c?d"
    visit = Visit(Item(0, url))
    visit.set_out()
    line = where.replace(b"\n", b"")
    try:
        moved = visit.add(_exchange(302, "Found", b"Location: " + line + b"\r\n", b"", url), 5)
    except Redirect as error:
        assert len(str(error)) < 3000 + len(url) * 3
        return
    if moved:
        assert visit.url.isascii() and "#" not in visit.url and "@" not in split_url(visit.url)[0]
        assert visit.url.startswith(("http://", "https://"))
        assert join_url(visit.url, visit.url) == visit.url


@target(
    b"a=b; Path=/; Domain=example.org; Secure; HttpOnly; Max-Age=5",
    b"__Host-a=b; Path=/; Secure\nc=d; Expires=Wed, 21 Oct 2065 07:28:00 GMT",
    tokens=(
        b"; Domain=",
        b"; Path=/",
        b"; Max-Age=",
        b"; Expires=",
        b"; Secure",
        b"Version=1",
        b'"',
        b"=",
        b"__Secure-",
    ),
)
def set_cookie(data: bytes) -> None:
    """Cookies go back where they came from, in a header of bounded size that holds no other; to no other host."""
    jar = Cookies()
    lines = data.decode("latin-1").split("\n")
    for url in ("https://www.example.org/a/b", "http://127.0.0.1:80/"):
        jar.take(url, lines)
    for url in ("https://www.example.org/a/b", "http://www.example.org/", "http://example.org/x", "http://127.0.0.1/"):
        value = jar.header(url)
        assert len(value) <= 8000 and "\r" not in value and "\n" not in value
        value.encode("latin-1")
    for url in ("http://example.com/", "http://127.0.0.2/", "http://evil-example.org/"):
        assert jar.header(url) == ""


@target(b"120", b"Wed, 21 Oct 2065 07:28:00 GMT", tokens=(b"GMT", b"+0000", b"Mon, ", b"99999999999999999999"))
def retry_after(data: bytes) -> None:
    """Seconds from now on, or nothing."""
    seconds = retry_after_s(data.decode("latin-1"), 1_700_000_000.0)
    assert seconds is None or (seconds >= 0 and seconds == seconds)


class _Local(Transfer):
    """Reads an answer that is in a pipe already, through libcurl, as one that has come from a server."""

    answer = b""

    def _prepare(self, headers: list[str]) -> None:
        super()._prepare(headers)
        self.easy.setopt(pycurl.SOCKOPTFUNCTION, lambda *_: pycurl.SOCKOPT_ALREADY_CONNECTED)
        self.easy.setopt(pycurl.FRESH_CONNECT, 1)
        self.easy.setopt(pycurl.FORBID_REUSE, 1)
        self.easy.setopt(pycurl.TIMEOUT_MS, 5000)

    def _open_socket(self, purpose: int, address: Any) -> Any:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(self.answer)
            theirs.shutdown(socket.SHUT_WR)
            # What is asked is left unread; without this end libcurl could not even send it.
            self.theirs = theirs.dup()
        return _BorrowedSocket(ours)


@cache
def _transfer(keeps_coding: bool) -> _Local:
    options = LoadOptions(max_bytes=10_000, truncate=True)
    return _Local(options, AddressGate(), Trust(options), MemoryLimit(), keeps_coding=keeps_coding)


@target(
    _HEAD + b"hello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.0 503 Busy\nRetry-After: 3\n\nbusy",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 13\r\n\r\n" + zlib.compress(b"hello"),
    tokens=_WORDS,
)
def answer(data: bytes) -> None:
    """A whole answer, framing and all, as libcurl reads it: a page, or a LoadError; never anything else."""
    for keeps_coding in (False, True):
        transfer = _transfer(keeps_coding)
        transfer.answer = data[:60_000]
        transfer.start("http://127.0.0.1:9/x")
        failure = None
        try:
            transfer.easy.perform()
        except pycurl.error as error:
            code, message = error.args
            failure = curl_failure(code, message, transfer.url)
        finally:
            transfer.theirs.close()
        try:
            exchange = transfer.exchange()
            if exchange is None or failure is not None:
                continue
            transfer.finish(exchange)
            visit = Visit(Item(0, transfer.url))
            visit.set_out()
            if not visit.add(exchange, 5):
                check_accepted(exchange, LoadOptions(accept="any"), visit.start_url)
                assert len(exchange.body) <= 10_000
                check_records(Page(Item(0, transfer.url), [exchange]))
        except LoadError:
            pass


def _exchange(status: int, reason: str, head: bytes, body: bytes, url: str = "http://a.example/") -> Exchange:
    return Exchange(url, b"", "http/1.1", status, reason, head, body, "127.0.0.1", 1.0, 0.5)
