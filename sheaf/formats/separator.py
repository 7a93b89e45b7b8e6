"""The word in every heading of a combined file; its first line names it, so no page can forge a heading."""

from __future__ import annotations

import re
import secrets

_FIRST_LINE = re.compile(rb"(?:<!--|#) sheaf separator ([0-9a-f]{16})(?: -->)?\n")


def has_separator(name: str) -> bool:
    """Whether loaded pages are under headings in an output of that name."""
    return name.lower().endswith((".html", ".txt"))


def new_separator() -> str:
    """Draw a word that no page's author can know."""
    return secrets.token_hex(8)


def separator_of(header: bytes) -> str:
    """The word that an output's first line tells; nothing for an output that has none."""
    found = _FIRST_LINE.fullmatch(header)
    return found[1].decode() if found else ""
