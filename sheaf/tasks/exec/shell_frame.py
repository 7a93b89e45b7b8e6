"""What a line of shell has been read to mean so far: the command that is open, and the variables that hold an item."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sheaf.tasks.exec.interpreters import OPENERS

#: What opens a file for a command: with the number or the name in front of it, it is no argument.
REDIRECTION = re.compile(r"&>>?|>>|>&|>\||<>|<&|<<-?|[<>]")
_NUMBERED = re.compile(r"\d+|\{\w+\}")
_LENGTH = re.compile(r"\$\{#\w+\}")


@dataclass
class Frame:
    """What encloses the place that is read: the line or a `$(…)`, which contains commands, or "double quotes"."""

    quotes: bool = False
    #: Parentheses that are open in it.
    depth: int = 0
    #: The words of its present command, and the one that has begun.
    words: list[str] = field(default_factory=list)
    word: str = ""
    #: Whether the word is a file that is opened, and no argument.
    redirects: bool = False
    #: Whether something was piped into one of its commands.
    piped: bool = False

    def end_word(self) -> None:
        if self.word and not self.redirects and not (not self.words and self.word in OPENERS):
            self.words.append(self.word)
        self.redirects = self.redirects and not self.word
        self.word = ""

    def begin_redirection(self) -> None:
        if _NUMBERED.fullmatch(self.word):
            self.word = ""
        self.end_word()
        self.redirects = True

    def end_command(self) -> None:
        self.word = ""
        self.words = []
        self.redirects = False


class Holders:
    """The variables that hold an item, or a part of one: where the shell computes with them, it runs what they hold."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def note(self, frame: Frame) -> None:
        """An item is in the frame's current word."""
        if given := re.match(r"(\w+)\+?=", frame.word):
            self._names.add(given[1])
        elif frame.words[:1] == ["for"]:
            self._names.update(frame.words[1:2])
        elif frame.words[:1] == ["set"]:
            self._names.update("123456789@*")

    def begins(self, text: str) -> str | None:
        """The one whose value the text begins with."""
        found = re.match(r"\$\{?(\d|\w+|[@*])", text)
        return found[1] if found and found[1] in self._names else None

    def used_in(self, text: str) -> str | None:
        """One whose value is in the text."""
        return next((name for at in re.finditer(r"\$", text) if (name := self.begins(text[at.start() :]))), None)

    def computed_in(self, text: str) -> str | None:
        """One that is in an expression, where it needs no `$`. Its length is a number, whatever it holds."""
        expression = _LENGTH.sub("", text)
        bare = (name for name in re.findall(r"[A-Za-z_]\w*", expression) if name in self._names)
        return next(bare, None) or self.used_in(expression)


def computed_in(expansion: str) -> str:
    """The part of a `${…}` that is computed: what is in [brackets] or after a colon, or a name after a !."""
    found = re.match(r"\$\{(?:\w+(?=\[|:[^-=?+])|!)(.*)", expansion, re.DOTALL)
    return found[1] if found else ""
