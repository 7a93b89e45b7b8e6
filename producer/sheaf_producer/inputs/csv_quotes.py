"""Which quotation mark it is that makes lines of CSV no row: the reader knows only where it gave up."""

from __future__ import annotations

import re
from typing import NamedTuple

_QUOTED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')
_LINE_END = re.compile(r"\r\n?|\n")


class _Mark(NamedTuple):
    """A quotation mark with which a field begins, and the place where the field does not end as it should."""

    opened: int
    #: None: it has no end.
    closed: int | None


def is_open(text: str, delimiter: str) -> bool:
    """Whether the lines of a row end inside of a field."""
    mark = _find(text, delimiter)
    return mark is not None and mark.closed is None


def what_is_wrong(text: str, first: int, last: int, delimiter: str) -> str | None:
    """Say what is wrong with a row read from line `first` to line `last`. None: no quotation mark is the cause.

    `text` holds these lines; of very many, the first ones.
    """
    mark = _find(text, delimiter)
    if mark is None:
        return None
    along = f", so that lines {first} to {last} ({last - first + 1:,} of them) are one row that cannot be read"
    along = along if last > first else ""
    opened = _where(text, mark.opened, first)
    if mark.closed is None:
        return f"a quotation mark is opened {opened} that is never closed{along}; close it, or remove it"
    return (
        f"the quotation mark that is opened {opened} is closed {_where(text, mark.closed, first)} before "
        f"{text[mark.closed : mark.closed + 20]!r}, where a field has to end{along}; write each quotation mark of a "
        "text twice"
    )


def _find(text: str, delimiter: str) -> _Mark | None:
    plain = re.compile(f"[^{re.escape(delimiter)}\r\n]*+")
    place = 0
    while place < len(text):
        if text[place] == '"':
            quoted = _QUOTED.match(text, place)
            if quoted is None:
                return _Mark(place, None)
            if quoted.end() < len(text) and text[quoted.end()] not in (delimiter, "\r", "\n"):
                return _Mark(place, quoted.end())
            place = quoted.end()
        else:
            field = plain.match(text, place)
            place = field.end() if field else place
        place += 1
    return None


def _where(text: str, place: int, first: int) -> str:
    line = first + len(_LINE_END.findall(text, 0, place))
    return "here" if line == first else f"in line {line}"
