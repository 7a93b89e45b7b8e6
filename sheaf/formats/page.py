"""A page as it was loaded: every request that led to it and every answer. What the record formats encode."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache

from sheaf.formats.media_type import combined
from sheaf.run.items import Item

_CONTENT_TYPE = b"\ncontent-type:"


@dataclass(slots=True)
class Exchange:
    """One request and the response to it. A page has one, and one more for each redirect that led to it."""

    #: The URL that was asked for, normalised, without fragment.
    url: str
    #: The request's head as it was sent (over HTTP/2: what it says in HTTP/1.1 syntax), with its closing blank line;
    #: empty where `decoded` is true: only archives keep it.
    request: bytes
    #: As WARC-Protocol names it: `http/1.0`, `http/1.1`, `h2`.
    protocol: str
    status: int
    reason: str
    #: The response's header lines as received, each with its line end; neither status line nor blank line.
    head: bytes
    #: Without transfer coding; without content coding too where `decoded` is true.
    body: bytes
    #: The address that answered.
    ip: str
    #: When the request began, in seconds since the epoch.
    started: float
    elapsed_s: float
    #: Whether the client removed the content coding that the header lines still name.
    decoded: bool = False
    #: Why the body ends early, in WARC's words: `length`, `time`, `disconnect`; None for a whole body.
    truncated: str | None = None
    _lowered: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def lowered(self) -> bytes:
        """The header lines in lower case, with a line feed before the first one too: each begins after one."""
        if not self._lowered:
            self._lowered = b"\n" + self.head.lower()
        return self._lowered

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Name and value of every header line, in the order received; a line that is not UTF-8 reads as Latin-1."""
        if self.head.isascii():
            lines = self.head.decode().split("\n")
        else:
            lines = [_line(line) for line in self.head.split(b"\n")]
        return [(name.strip(), value.strip()) for name, _, value in [line.partition(":") for line in lines[:-1]]]

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, its bytes read as Latin-1; or None."""
        wanted = _line_start(name)
        start = self.lowered.find(wanted)
        return None if start < 0 else self._value(start + len(wanted))

    @property
    def content_type(self) -> str | None:
        """What all the Content-Type lines come to, as browsers read them; None without one."""
        lowered = self.lowered
        start = lowered.find(_CONTENT_TYPE)
        if start < 0:
            return None
        value = self._value(start + len(_CONTENT_TYPE))
        again = lowered.find(_CONTENT_TYPE, start + 1)
        if again < 0 and "," not in value:
            return value
        values = [value]
        while again >= 0:
            values.append(self._value(again + len(_CONTENT_TYPE)))
            again = lowered.find(_CONTENT_TYPE, again + 1)
        return combined(values)

    def _value(self, after: int) -> str:
        """The value of the header line whose colon ends before that byte of `lowered`."""
        begin = after - 1
        return self.head[begin : self.head.find(b"\n", begin)].strip().decode("latin-1")


@dataclass(slots=True)
class Page:
    """What one item of the `load` task became."""

    item: Item
    #: Redirects first, the page itself last; never empty.
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def final(self) -> Exchange:
        """The exchange that holds the page itself."""
        return self.exchanges[-1]


def utc_date(moment: float) -> str:
    """Write a moment as `2026-01-31T12:00:00.250Z`; what is beyond milliseconds is cut off."""
    seconds = int(moment)
    return f"{_second(seconds)}.{int((moment - seconds) * 1000):03d}Z"


def _line(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


@lru_cache(maxsize=64)
def _line_start(name: str) -> bytes:
    """What precedes a header's value, when the head is in lower case."""
    return f"\n{name.lower()}:".encode()


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
