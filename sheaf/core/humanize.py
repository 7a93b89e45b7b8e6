"""Numbers as a person reads them."""

from __future__ import annotations

from pathlib import Path

#: How much of a value a sentence shows.
_SHOWN_CHARS = 80
_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def count_text(number: int, noun: str = "") -> str:
    """`1,988`, or with a noun `1,988 pages`, `1 page`."""
    if not noun:
        return f"{number:,}"
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith(("ch", "ss")) else f"{noun}s"
    return f"{number:,} {noun}"


def bytes_text(number: float) -> str:
    """`48.2 MB`: decimal, as disks and networks count."""
    for size, unit in _SIZES:
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} bytes"


def seconds_text(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def rate_text(per_s: float) -> str:
    """`0.4`, `12`, `1,843`: a number per second."""
    return f"{per_s:.1f}" if per_s < 10 else f"{per_s:,.0f}"


def path_text(path: Path) -> str:
    """The path as one would type it here: relative where that is shorter and stays below this folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        return str(path)


def value_text(value: object) -> str:
    """An option's value in one line, and not without end: some are whole files."""
    line = " ".join(str(value).split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}…"
