"""What each page of the test site holds: computed from its name, by the site that serves it and by the checker."""

from __future__ import annotations

import hashlib

#: Bytes that a page may be longer than the shortest one; every tenth and every fortieth page are much longer.
_SPREAD = 4000
_LONG = 60_000
_LONGEST = 300_000


def page(site: str, number: int) -> bytes:
    """Return the page's bytes; no two pages are alike, and each shows where it begins and ends."""
    seed = hashlib.sha256(f"{site}/{number}".encode()).digest()
    size = 200 + int.from_bytes(seed[:4], "big") % _SPREAD
    if number % 40 == 7:
        size = _LONGEST
    elif number % 10 == 3:
        size = _LONG
    filling = hashlib.shake_128(seed).hexdigest(size // 2)
    return (
        f"<!doctype html>\n<title>page {number} of {site}</title>\n<p>{filling}</p>\n<p>end of page {number}</p>\n"
    ).encode()


def page_url(base: str, site: str, number: int, latency_ms: int) -> str:
    return f"{base}/{site}/{number}?ms={latency_ms}"
