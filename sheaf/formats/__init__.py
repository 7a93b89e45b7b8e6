"""Record formats: how one item's result becomes the bytes of its record. The output's suffix chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sheaf.core.errors import OutputPathError
from sheaf.formats.page import Exchange, Page

__all__ = ["SUFFIXES", "Exchange", "Format", "Page", "check_holds", "format_for"]

#: The suffixes an output may have, the default first.
SUFFIXES = (".warc.gz", ".warc", ".jsonl", ".jsonl.gz", ".html", ".txt", ".csv")
#: The suffixes of formats that hold one of the two only: loaded pages, or the values that functions return.
_HOLD_ONLY = {".warc.gz": "pages", ".warc": "pages", ".html": "pages", ".csv": "values"}


class Format(Protocol):
    """Turns results into records. A record is whole by itself: the output is their concatenation, in any order."""

    @property
    def keeps_coding(self) -> bool:
        """Whether a page's body is stored content-encoded, as it was received."""

    def header(self, name: str) -> bytes:
        """Return the bytes that the output of that file name begins with, before any record."""

    def page(self, page: Page) -> bytes:
        """Encode a loaded page."""

    def value(self, index: int, text: str | int, value: object) -> bytes:
        """Encode what a function returned for an item; a number represents its digits.

        Raises TaskError if the format cannot hold it.
        """


def check_holds(name: str, what: str) -> None:
    """Raise OutputPathError if an output of that name cannot hold `pages`, or `values`; or is of no format at all."""
    format_for(name)
    held = next((held for suffix, held in _HOLD_ONLY.items() if name.lower().endswith(suffix)), what)
    if held != what:
        others = [suffix for suffix in SUFFIXES if _HOLD_ONLY.get(suffix, what) == what]
        kinds = {"pages": "loaded pages", "values": "the values that functions return"}
        raise OutputPathError(
            f"{name} can hold {kinds[held]} only, but this run produces {kinds[what]}; end the output's name with "
            f"one of {', '.join(others)}"
        )


def format_for(name: str, options: Mapping[str, Any] | None = None, separator: str = "") -> Format:
    """Return the format that a file name's suffix asks for, as the run's options want it.

    `separator`: the word in the headings of an output that has one.

    Raises OutputPathError for any other suffix.
    """
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    if suffix in (".warc.gz", ".warc"):
        from sheaf.formats.warc import WarcFormat

        return WarcFormat(compressed=suffix == ".warc.gz")
    if suffix in (".jsonl", ".jsonl.gz"):
        from sheaf.formats.jsonl import JsonLinesFormat

        return JsonLinesFormat(compressed=suffix == ".jsonl.gz")
    if suffix == ".html":
        from sheaf.formats.text import HtmlFormat

        return HtmlFormat(separator)
    if suffix == ".txt":
        from sheaf.formats.text import TextFormat

        return TextFormat(separator)
    if suffix == ".csv":
        from sheaf.formats.csv import CsvFormat

        given = options or {}
        return CsvFormat(given.get("columns"), harmless=bool(given.get("csv_safe")))
    raise OutputPathError(
        f"{name!r} has no suffix that names a record format; end the output's name with one of {', '.join(SUFFIXES)}"
    )
