"""The final response's head, out of all lines that libcurl hands over: interim responses before it, trailers after."""

from __future__ import annotations

from functools import lru_cache

_PROTOCOLS = {b"HTTP/1.0": "http/1.0", b"HTTP/1.1": "http/1.1", b"HTTP/2": "h2"}


def final_head(lines: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return status line and header lines, each with its line end; None if there is no response at all.

    Blank lines are left out, and a header that was folded over several lines is joined.
    """
    whole = b"".join(lines)
    if _is_plain(whole):
        status_end = whole.index(b"\n") + 1
        return whole[:status_end], whole[status_end:-2]
    head = _last_head(lines)
    return (head[0], b"".join(head[1:])) if head else None


@lru_cache(maxsize=256)
def status_of(line: bytes) -> tuple[str, int, str]:
    """Read a status line: protocol (as WARC-Protocol names it), status, reason."""
    version, _, rest = line.partition(b" ")
    status, _, reason = rest.strip().partition(b" ")
    return _PROTOCOLS.get(version, "http/1.1"), int(status), reason.decode("latin-1")


def _is_plain(whole: bytes) -> bool:
    """Whether this is one response's head and nothing else, as almost always."""
    # find(), because `in` first takes what it looks for to be a number, and raises and drops an exception over it.
    find = whole.find
    return (
        find(b"\r\n\r\n") == len(whole) - 4
        and whole.startswith(b"HTTP/")
        and find(b"\nHTTP/") < 0
        and find(b"\n ") < 0
        and find(b"\n\t") < 0
        and find(b"\n\n") < 0
    )


def _last_head(lines: list[bytes]) -> list[bytes]:
    start = None
    for number, line in enumerate(lines):
        if line.startswith(b"HTTP/"):
            start = number
    if start is None:
        return []
    head = lines[start:]
    for number, line in enumerate(head):
        if line in (b"\r\n", b"\n"):
            return _unfolded(head[:number])
    return _unfolded(head)


def _unfolded(head: list[bytes]) -> list[bytes]:
    """Join the lines of a header that was folded over several."""
    if not any(line[:1] in b" \t" for line in head):
        return head
    unfolded: list[bytes] = []
    for line in head:
        if line[:1] in b" \t" and unfolded:
            unfolded[-1] = unfolded[-1].rstrip() + b" " + line.lstrip()
        else:
            unfolded.append(line)
    return unfolded
