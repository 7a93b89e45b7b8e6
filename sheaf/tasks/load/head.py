"""The final response's head, out of all lines that libcurl hands over: interim responses before it, trailers after."""

from __future__ import annotations

import re
from functools import lru_cache

from sheaf.tasks.load.errors import Protocol

_PROTOCOLS = {b"HTTP/1.0": "http/1.0", b"HTTP/1.1": "http/1.1", b"HTTP/2": "h2"}
#: Version, three digits, reason. What is between the last two, if anything, matters to no browser.
_STATUS_LINE = re.compile(rb"(\S+)[ \t]+([0-9]{3})(?![0-9])[ \t]*([^\r\n]*)")
_LINE_ENDS = (b"\r", b"\n")
#: The byte after the blank.
_FIRST_OF_A_NAME = b"!"
#: How nearly all heads begin that are no interim response's, the most frequent first.
_USUAL = (
    b"HTTP/1.1 2",
    b"HTTP/2 2",
    b"HTTP/1.1 3",
    b"HTTP/1.1 4",
    b"HTTP/2 3",
    b"HTTP/2 4",
    b"HTTP/1.1 5",
    b"HTTP/1.0 2",
)
#: How much of a status line a message shows.
_SHOWN_BYTES = 100
_SWITCHING_PROTOCOLS = 101


def final_head(lines: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return status line and header lines, each with its line end; None if the final response's head is not whole.

    Blank lines are left out, and a header that was folded over several lines is joined.
    """
    if _is_plain(lines):
        return lines[0], b"".join(lines[1:-1])
    head = _last_head(lines)
    return (head[0], b"".join(head[1:])) if head else None


@lru_cache(maxsize=256)
def status_of(line: bytes) -> tuple[str, int, str]:
    """Read a status line: protocol (as WARC-Protocol names it), status, reason. Raises Protocol if it has no status."""
    match = _STATUS_LINE.match(line)
    if match is None:
        raise Protocol(f"the status line {line[:_SHOWN_BYTES].strip()!r} has no status of three digits")
    version, status, reason = match.groups()
    return _PROTOCOLS.get(version.upper(), "http/1.1"), int(status), reason.rstrip().decode("latin-1")


def values_of(head: bytes, name: bytes) -> list[str]:
    """The values of all headers of that name (in lower case), byte by byte: each character is one byte."""
    lowered = head.lower()
    if lowered.find(name) < 0:
        return []
    lines = [line.partition(b":") for line in head.split(b"\n")]
    return [value.strip().decode("latin-1") for found, _, value in lines if found.strip().lower() == name]


def _is_plain(lines: list[bytes]) -> bool:
    """Whether this is one response's head and nothing else, as almost always.

    Blank lines, and those that continue another, begin with a byte that sorts before all that a name begins with. So
    the line that sorts first speaks for all of them.
    """
    return bool(lines) and lines[-1] == b"\r\n" and lines[0].startswith(_USUAL) and min(lines[:-1]) >= _FIRST_OF_A_NAME


def _last_head(lines: list[bytes]) -> list[bytes]:
    """The lines of the first head that is no interim response's; nothing if the connection ended before its end.

    The first line is the status line, whatever it looks like, and the only one: a header may be called `HTTP/1.1`.
    """
    head: list[bytes] = []
    for line in lines:
        if line[:1] not in _LINE_ENDS:
            head.append(line)
        elif head and not _is_interim(head[0]):
            return _unfolded(head)
        else:
            head = []
    return []


def _is_interim(line: bytes) -> bool:
    match = _STATUS_LINE.match(line)
    return match is not None and match[2].startswith(b"1") and int(match[2]) != _SWITCHING_PROTOCOLS


def _unfolded(head: list[bytes]) -> list[bytes]:
    """Join the lines of a header that was folded over several. What would continue the status line is left out."""
    if not any(line[:1] in b" \t" for line in head):
        return head
    unfolded = head[:1]
    for line in head[1:]:
        if line[:1] not in b" \t":
            unfolded.append(line)
        elif len(unfolded) > 1:
            unfolded[-1] = unfolded[-1].rstrip() + b" " + line.lstrip()
    return unfolded
