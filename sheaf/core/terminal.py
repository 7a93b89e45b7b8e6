"""What others have written (servers, items, exceptions, file names, Redis), on its way to a terminal or into a heading.

A terminal obeys what it is shown: an escape sequence in an exception's text can clear the screen or hide lines, and a
character that turns the direction of writing can make one name look like another. So the command line's standard
streams show such characters instead of passing them on, whatever prints. Data stays exact: `data()`, and all that is
binary.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
from typing import Any

#: Controls (C0 but for tab and newline, DEL, C1), what changes the direction of writing, the separators of lines and
#: paragraphs, and lone halves of surrogate pairs.
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ODD_OR_BREAK = re.compile(f"{_ODD.pattern}|\n")
#: What a person types to call Sheaf.
_command = "sheaf"
_COMMANDS = re.compile(
    r"\bsheaf (up|down|load|map|exec|watch|status|failures|retry|verify|get|export|repair|cancel|resume|prune)\b"
)
#: In containers these are not Sheaf's.
_OUTSIDE = {"up": "docker compose up -d", "down": "docker compose down"}


def printable(text: str) -> str:
    """The text with what a terminal would obey shown as `\\x1b`; its lines stay lines."""
    return text if text.isprintable() else _ODD.sub(_escape, text)


def one_line(text: str) -> str:
    """The same for a text that must not look like two lines."""
    return text if text.isprintable() else _ODD_OR_BREAK.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\n":
        return "\\n"
    if 0xDC80 <= code <= 0xDCFF:
        # A byte of a file name that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    # From 0x7f on, the form that JSON knows, too: what is printed as JSON stays the same value.
    return f"\\x{code:02x}" if code < 0x7F else f"\\u{code:04x}"


class _Shown(io.TextIOWrapper):
    """A standard stream on which no escape is obeyed, and commands are shown as they are typed here."""

    #: `ascii`, if that is all that can be read of it. It does not say so: click takes a stream of that encoding for a
    #: mistake, and writes to what is below it.
    reads = ""

    def write(self, text: str, /) -> int:
        self.write_exactly(_as_typed(printable(text)))
        return len(text)

    def write_exactly(self, text: str) -> None:
        if self.reads and not text.isascii():
            text = text.encode(self.reads, "backslashreplace").decode(self.reads)
        super().write(text)


def type_commands_as(command: str) -> None:
    """Show Sheaf's commands as a person types them here: `docker compose run --rm producer load` for `sheaf load`."""
    global _command  # noqa: PLW0603  of the process's standard streams, as they are
    _command = command


def _as_typed(text: str) -> str:
    if _command == "sheaf" or "sheaf " not in text:
        return text
    text = text.replace("`sheaf up` or `docker", "`docker")
    return _COMMANDS.sub(lambda found: _OUTSIDE.get(found[1], f"{_command} {found[1]}"), text)


def guard() -> None:
    """From here on the process's standard streams show what a terminal would obey."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            encoding, lines, through = stream.encoding, stream.line_buffering, stream.write_through
            narrow = codecs.lookup(encoding).name == "ascii"
            ours = "utf-8" if narrow else encoding
            shown = _Shown(stream.detach(), ours, "backslashreplace", None, lines, through)
            shown.reads = "ascii" if narrow else ""
            setattr(sys, name, shown)
            setattr(sys, f"__{name}__", shown)


def control(text: str) -> None:
    """Write to standard error what the terminal is to obey: our own."""
    _exactly(sys.stderr, text)
    sys.stderr.flush()


class Canvas:
    """Standard error for what draws on it with escape sequences of its own; texts of others are its own to clean."""

    def write(self, text: str) -> int:
        _exactly(sys.stderr, text)
        return len(text)

    @property
    def encoding(self) -> str:
        """By which it is chosen what a bar is drawn with."""
        return getattr(sys.stderr, "reads", "") or sys.stderr.encoding

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def data(line: str) -> None:
    """Print a line that a program may read: exact and in UTF-8, whatever the locale; on a terminal, as all else.

    What is no character (half of a surrogate pair) is written as `\\udc80`, which is what JSON calls it.
    """
    if sys.stdout.isatty():
        sys.stdout.write(line + "\n")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(line.encode(errors="backslashreplace") + b"\n")


def _exactly(stream: Any, text: str) -> None:
    if isinstance(stream, _Shown):
        stream.write_exactly(text)
    else:
        stream.write(text)
