"""One of a child's connections: a libcurl easy handle that asks for one URL after another."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import pycurl

from sheaf.formats import Exchange
from sheaf.tasks.load.address import AddressGate
from sheaf.tasks.load.coding import BadCoding, codings_of, unpack
from sheaf.tasks.load.errors import Connect, Protocol, Timeout, TooLarge
from sheaf.tasks.load.files import is_lack_of_files
from sheaf.tasks.load.head import final_head, status_of, values_of
from sheaf.tasks.load.memory import FREE_BYTES, MemoryLimit
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.trust import Trust
from sheaf.tasks.load.url import split_url
from sheaf.tasks.load.visit import target_of

#: Bytes read at a time: four times libcurl's own, so that most pages come in one piece.
_BUFFER_BYTES = 64 << 10
#: What a write callback returns to end the transfer.
_STOP = -1
_PAUSE: int = pycurl.WRITEFUNC_PAUSE
#: What ends a page early, and what WARC calls that.
_CUTS: dict[type[Exception], str] = {Timeout: "time", Connect: "disconnect"}
_BLANK = frozenset({b"\r\n", b"\n"})
#: As browsers say it. Where bodies are kept as received, gzip alone: every reader of an archive knows it.
_UNPACKED, _KEPT = "gzip, deflate, br, zstd", "gzip"


class Transfer:
    """Asks for URLs, one at a time; its `easy` handle keeps its settings from one to the next."""

    def __init__(
        self, options: LoadOptions, gate: AddressGate, trust: Trust, memory: MemoryLimit, *, keeps_coding: bool
    ) -> None:
        self.easy = pycurl.Curl()
        #: Set while the transfer waits for memory.
        self.paused = False
        #: Set once the body was cut at `max_bytes`, or would have had to be.
        self.too_large = False
        #: Set if part of a page is better than none of it, should more not be had.
        self.keeps_part = False
        #: Why the body ends early and is kept nevertheless, in WARC's words.
        self._truncated: str | None = None
        #: The addresses that the gate refused.
        self.refused: list[str] = []
        #: Set if there was no descriptor for a connection.
        self.lacked_files = False
        self._options = options
        self._gate = gate
        self._trust = trust
        self._memory = memory
        self._decodes = not keeps_coding
        #: libcurl appends to these two lists; they are emptied, never replaced.
        self._lines: list[bytes] = []
        self._chunks: list[bytes] = []
        self._size_bytes = 0
        self._granted_bytes = FREE_BYTES
        #: A body that stays below this needs no look at any limit.
        self._carefree_bytes = min(FREE_BYTES, options.max_bytes)
        self._room_bytes = self._carefree_bytes
        self._started = 0.0
        #: What is asked for now, or was asked for last.
        self.url = ""
        self._target = self._cookie = ""
        #: How many header lines there were when they were last looked at before the end.
        self._looked_at = 0
        headers = [
            f"User-Agent: {options.user_agent}",
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            # As a header of our own: libcurl hands over bodies as they were received, and `finish` unpacks them.
            f"Accept-Encoding: {_KEPT if keeps_coding else _UNPACKED}",
        ]
        self._headers = headers
        self._request_tail = "".join(f"\r\n{header}" for header in headers)
        self._prepare(headers)

    def start(self, url: str, cookie: str = "") -> None:
        """Get ready to ask for the URL; the owner of the multi handle adds `easy` to it."""
        self._lines.clear()
        self._chunks.clear()
        self.refused.clear()
        self._size_bytes = 0
        self._granted_bytes = FREE_BYTES
        self._room_bytes = self._carefree_bytes
        self.paused = self.too_large = self.lacked_files = self.keeps_part = False
        self._truncated = None
        self._looked_at = 0
        self.url = url
        self._started = time.time()
        self.easy.setopt(pycurl.URL, url)
        if self._target or "%" in url:
            # libcurl would write %c3 as %C3. Most URLs have none, and most handles never need the option.
            self._target = split_url(url)[1]
            self.easy.setopt(pycurl.REQUEST_TARGET, self._target)
        if cookie != self._cookie:
            self._cookie = cookie
            line = [f"Cookie: {cookie}".encode("latin-1")] if cookie else []
            self.easy.setopt(pycurl.HTTPHEADER, [*self._headers, *line])

    @property
    def leads_on(self) -> bool:
        """Whether the answer's head is whole and says that the page is elsewhere: then its body does not matter."""
        head = final_head(self._lines)
        return head is not None and target_of(status_of(head[0])[1], head[1]) is not None

    def early_end(self) -> int | None:
        """The libcurl code to end this with, if the head alone says so: 0 for a redirect. Each head is looked at once.

        The body of a redirect is not waited for; it may have no end. libcurl's own look at
        Content-Length comes before it has read whether there is a Location.
        """
        lines = self._lines
        if len(lines) == self._looked_at or lines[-1] not in _BLANK:
            return None
        self._looked_at = len(lines)
        head = final_head(lines)
        if head is None:
            return None
        if target_of(status_of(head[0])[1], head[1]) is not None:
            return 0
        announced = values_of(head[1], b"content-length")
        if self._options.truncate or not announced or not announced[0].isdecimal():
            return None
        too_large: int = pycurl.E_FILESIZE_EXCEEDED
        return too_large if int(announced[0][:18]) > self._options.max_bytes else None

    def exchange(self) -> Exchange | None:
        """Return what came back, or None if it is no HTTP response at all."""
        head = final_head(self._lines)
        if head is None:
            return None
        elapsed_s = time.time() - self._started
        protocol, status, reason = status_of(head[0])
        # In the order of the fields: by name it takes three times as long.
        return Exchange(
            self.url,
            b"" if self._decodes else self._request(),
            protocol,
            status,
            reason,
            head[1],
            b"".join(self._chunks),
            self.easy.getinfo(pycurl.PRIMARY_IP),
            self._started,
            elapsed_s if elapsed_s > 0 else 0.0,
            self._decodes,
            "length" if self.too_large else self._truncated,
        )

    def cut_by(self, failure: Exception) -> bool:
        """Whether the failure only cut a page short that is to be kept so; `exchange` then says why."""
        if self.keeps_part and self._chunks:
            reasons = (reason for kind, reason in _CUTS.items() if isinstance(failure, kind))
            self._truncated = next(reasons, None)
        return self._truncated is not None

    def finish(self, exchange: Exchange) -> None:
        """Remove the content coding of a page that is wanted. Raises LoadError if the body is not whole.

        Where bodies are kept as received it stays, and is only read to its end. What is no such coding then, or is too
        large unpacked, is the archive's reader's concern.
        """
        # find(), because `in` first takes what it looks for to be a number, and raises and drops an exception over it.
        if exchange.lowered.find(b"\ncontent-encoding") < 0:
            return
        codings = codings_of(exchange.head)
        if not codings or (exchange.truncated and not self._decodes):
            return
        try:
            unpacked = unpack(exchange.body, codings, self._options.max_bytes)
        except BadCoding as error:
            if not self._decodes:
                return
            raise Protocol(
                f"{exchange.url}: the body does not match its Content-Encoding ({', '.join(codings)}): {error}"
            ) from error
        if unpacked.cut and exchange.truncated is None:
            if not self.keeps_part:
                raise Connect(f"{exchange.url}: the body was cut short: its {', '.join(codings)} stream has no end")
            exchange.truncated = "unspecified"
        if self._decodes:
            exchange.body = unpacked.body
            if unpacked.larger:
                self._cut_to_size(exchange)

    def _cut_to_size(self, exchange: Exchange) -> None:
        if not self._options.truncate:
            raise TooLarge(
                f"{exchange.url} has more than {self._options.max_bytes:,} bytes when unpacked; "
                "raise the limit, or ask for truncation"
            )
        exchange.truncated = "length"

    def _request(self) -> bytes:
        authority, target = split_url(self.url)
        cookie = f"\r\nCookie: {self._cookie}" if self._cookie else ""
        return f"GET {target} HTTP/1.1\r\nHost: {authority}{self._request_tail}{cookie}\r\n\r\n".encode("latin-1")

    def resume(self) -> None:
        """Go on after a pause, if there is room by now."""
        self.paused = False
        self.easy.pause(pycurl.PAUSE_CONT)

    def release(self) -> bool:
        """Let go of the body and of the memory it was granted. Returns whether that made room for others."""
        self._chunks.clear()
        return self._granted_bytes > FREE_BYTES and self._memory.release(self)

    def _prepare(self, headers: list[str]) -> None:
        options = self._options
        settings: dict[int, Any] = {
            # We parse redirects ourselves: each hop is checked, and is recorded.
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            # A proxy from the environment would connect for us, past the check of addresses.
            pycurl.PROXY: "",
            pycurl.NOSIGNAL: 1,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS,
            pycurl.CAINFO: self._trust.file,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            pycurl.CONNECTTIMEOUT_MS: int(options.connect_timeout_s * 1000),
            pycurl.HTTPHEADER: headers,
            pycurl.BUFFERSIZE: _BUFFER_BYTES,
            pycurl.OPENSOCKETFUNCTION: self._open_socket,
            pycurl.WRITEFUNCTION: self._write,
            pycurl.HEADERFUNCTION: self._lines.append,
        }
        if self._trust.folder:
            settings[pycurl.CAPATH] = self._trust.folder
        for option, value in settings.items():
            self.easy.setopt(option, value)

    def _open_socket(self, purpose: int, address: Any) -> Any:  # noqa: ARG002
        """Called by libcurl instead of socket(): the last moment at which an address can be refused."""
        family, kind, protocol, (host, *_) = address
        if not self._gate.lets_through(host):
            self.refused.append(host)
            return pycurl.SOCKET_BAD
        try:
            borrow = _BorrowedSocket(socket.socket(family, kind, protocol))
            # pycurl is about to take a copy, and would call a failure to do so a server's.
            os.close(os.dup(borrow.fileno()))
        except OSError as error:
            self.lacked_files = is_lack_of_files(error)
            return pycurl.SOCKET_BAD
        return borrow

    def _write(self, chunk: bytes) -> int | None:
        """Called by libcurl with each piece of the body. An exception in here would be lost, so nothing may raise."""
        size = self._size_bytes + len(chunk)
        if size > self._room_bytes and (refusal := self._find_room(chunk, size)) is not None:
            return refusal
        self._size_bytes = size
        self._chunks.append(chunk)
        return None

    def _find_room(self, chunk: bytes, size: int) -> int | None:
        """For a body that is larger than most: what the write callback has to return, or None if it may go on."""
        limit = self._options.max_bytes
        if size > limit:
            self.too_large = True
            self._chunks.append(chunk[: limit - self._size_bytes])
            return _STOP
        while size > self._granted_bytes:
            granted = self._memory.grant(self)
            if not granted:
                self.paused = True
                return _PAUSE
            self._granted_bytes = granted
        self._room_bytes = min(self._granted_bytes, limit)
        return None


class _BorrowedSocket:
    """A socket for pycurl, which duplicates its descriptor and then lets go of the object; ours is closed with it."""

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened

    def fileno(self) -> int:
        return self._opened.fileno()

    def __del__(self) -> None:
        self._opened.close()
