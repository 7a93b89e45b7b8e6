"""The combined file: every page decoded to UTF-8, each under one line that names its URL.

So that no page can hold a line that looks like another page's, each output has a word of its own, drawn when it is
made: its first line tells it, and every heading has it. An output without (made by version 0.1, or of a function's
values) has headings without (docs/decisions/0042-headings.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from sheaf.core.errors import TaskError
from sheaf.core.terminal import one_line
from sheaf.formats.charset import as_utf8, is_text
from sheaf.formats.page import Page
from sheaf.formats.values import bare


class _CombinedFormat(ABC):
    keeps_coding = False
    suffix = ""
    #: What a heading begins with.
    word = ""

    def __init__(self, separator: str = "") -> None:
        self._separator = separator
        self._before = f"{separator} " if separator else ""

    def header(self, name: str) -> bytes:  # noqa: ARG002
        return self.line(f"sheaf separator {self._separator}") if self._separator else b""

    def heading(self, title: str) -> bytes:
        """Return the heading of a page."""
        return self.line(f"{self.word}{self._before}{_one_line(title)}")

    def page(self, page: Page) -> bytes:
        final = page.final
        content_type = final.content_type
        title = f"{page.item.index} {page.item.text}"
        if len(page.exchanges) > 1:
            title += f" redirected to {final.url}"
        if final.truncated:
            title += f" (cut short: {final.truncated})"
        if not is_text(content_type, final.body):
            return self.heading(f"{title} ({content_type or 'no type'}, {len(final.body)} bytes, not text: left out)")
        text = as_utf8(final.body, content_type, cut=final.truncated is not None)
        return b"".join((self.heading(title), text, b"" if text.endswith(b"\n") else b"\n"))

    def value(self, index: int, text: str | int, value: object) -> bytes:  # noqa: ARG002
        raise TaskError(
            f"item {index} returned a {type(value).__name__}, but a {self.suffix} output holds loaded pages only; "
            "choose an output that ends with .jsonl"
        )

    @abstractmethod
    def line(self, text: str) -> bytes:
        """Return a line of our own."""


class HtmlFormat(_CombinedFormat):
    """Pages under `<!-- sheaf <separator> <index> <url> -->`."""

    suffix = ".html"
    word = "sheaf "

    def line(self, text: str) -> bytes:
        # Without a `>` no text can end the comment.
        return f"<!-- {text.replace('>', '%3E')} -->\n".encode(errors="replace")


class TextFormat(_CombinedFormat):
    """Pages under `# <separator> <index> <url>`; values of a function one line each, with nothing around them."""

    suffix = ".txt"

    def value(self, index: int, text: str | int, value: object) -> bytes:  # noqa: ARG002
        """One line: text and bytes as they are, everything else as JSON."""
        if isinstance(value, bytes):
            line = value
        else:
            try:
                line = (value if isinstance(value, str) else bare(value)).encode()
            except (TypeError, ValueError, RecursionError) as error:
                raise TaskError(
                    f"item {index} returned a {type(value).__name__} that is not a line of text: {error}; return text, "
                    "bytes, numbers, or lists and dicts of these; or choose an output that ends with .jsonl"
                ) from error
        if b"\n" in line or b"\r" in line:
            raise TaskError(
                f"item {index} returned text with a line break, but in a .txt output each value is one line; choose "
                "an output that ends with .jsonl, or replace the line breaks"
            )
        return line + b"\n"

    def line(self, text: str) -> bytes:
        return f"# {text}\n".encode(errors="replace")


def _one_line(text: str) -> str:
    """What a server or a list says of itself, in a file that people open in a terminal."""
    return one_line(" ".join(text.split()))
