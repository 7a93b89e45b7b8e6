"""A line for `/bin/sh` with places for an item. The item is a variable of the shell, never a part of the line's text.

    grep -c {} "books/{/}"   →   sheaf_item=$1 sheaf_name=$2; shift 2; grep -c "${sheaf_item}" "books/${sheaf_name}"

A shell does not read a variable's value as code, wherever it is, so a mistake of ours in reading the line could
spoil a text and never run one. Refused is what would print another text than the item's, and what hands the item to
another interpreter (`eval`, `sh -c`, a here-document, `awk`): there it would be code, whatever the quotation marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sheaf.core.errors import TaskError
from sheaf.tasks.exec.interpreters import reads_code, runs_input
from sheaf.tasks.exec.shell_frame import REDIRECTION, Frame, Holders, computed_in

#: What a command may contain, as in GNU parallel: the item; it without its suffix; its last part; its folder; its last
#: part without a suffix; its number, from 1.
PLACEHOLDER = re.compile(r"\{(?:|\.|/|//|/\.|#)\}")
_VARIABLES = {
    "{}": "sheaf_item",
    "{.}": "sheaf_without_suffix",
    "{/}": "sheaf_name",
    "{//}": "sheaf_folder",
    "{/.}": "sheaf_name_without_suffix",
}
_BREAKS = ";&|\n()"
_QUOTED = 'write it bare, or within "double quotes": the item stays one word, whatever it holds'
_COMPUTED = "use expr, as in: expr {} + 1"
_AS_ARGUMENT = "hand it over as an argument of its own, as in: sh -c 'echo \"$1\"' sh {}"


@dataclass(frozen=True)
class ShellLine:
    """A line as the shell gets it."""

    text: str
    #: What the line contains, in the order in which the shell gets their values.
    placeholders: tuple[str, ...]

    @property
    def opening(self) -> str:
        """What gives the values their names, before the line itself."""
        if not self.placeholders:
            return ""
        names = " ".join(f"{_VARIABLES[name]}=${place}" for place, name in enumerate(self.placeholders, start=1))
        return f"{names}; shift {len(self.placeholders)}; "

    def shown(self, values: Sequence[str]) -> str:
        """The line for people, with its values."""
        names = [f"{_VARIABLES[name]}={value}" for name, value in zip(self.placeholders, values, strict=True)]
        return "; ".join([*names, self.text])


@lru_cache(maxsize=16)
def shell_line(words: tuple[str, ...], on_stdin: bool) -> ShellLine:
    """Read a line. Raises TaskError that says how to write it, if an item cannot be used where it is."""
    line = " ".join(words)
    if not PLACEHOLDER.search(line):
        if on_stdin:
            return ShellLine(line, ())
        line += " {}"
    reader = _Reader(line)
    return ShellLine(reader.read(), tuple(dict.fromkeys(reader.found)))


class _Reader:
    def __init__(self, line: str) -> None:
        self._line = line
        self._at = 0
        self._frames = [Frame()]
        self._done: list[str] = []
        self._here_document = False
        self._holders = Holders(_VARIABLES.values())
        self.found: list[str] = []

    def read(self) -> str:
        while self._at < len(self._line):
            placeholder = PLACEHOLDER.match(self._line, self._at)
            if placeholder:
                self._put(placeholder[0])
            elif self._frames[-1].quotes:
                self._read_quoted()
            else:
                self._read_bare()
        if len(self._frames) > 1:
            raise self._refusal("{}", "in a line in which a quotation mark or a parenthesis is not closed", "close it")
        if not self.found and "{#}" not in self._line:
            raise self._refusal("{}", "in a comment only", "put it before the #")
        self._end_command(self._frames[0])
        return "".join(self._done)

    def _put(self, placeholder: str) -> None:
        frame = self._frames[-1]
        if self._line[max(0, self._at - 1) : self._at] in ("\\", "$"):
            raise self._refusal(placeholder, f"after a {self._line[self._at - 1]}", _QUOTED)
        if placeholder == "{#}":
            value = "${sheaf_number}"
        else:
            self._check_text_only(placeholder)
            self.found.append(placeholder)
            value = "${" + _VARIABLES[placeholder] + "}"
        self._done.append(value if frame.quotes else f'"{value}"')
        self._at += len(placeholder)
        self._note(placeholder)

    def _check_text_only(self, placeholder: str) -> None:
        """Raise TaskError where an item would be code; note the variable that is given it."""
        for frame in self._frames:
            if frame.quotes:
                continue
            if reader := reads_code(frame.words, frame.word):
                raise self._refusal(placeholder, f"in what {reader} reads as code", _AS_ARGUMENT)
            self._holders.note(frame)

    def _check_holder(self, name: str | None, where: str, how: str) -> None:
        if name is not None:
            raise self._refusal(f"{{}}, as {name},", where, how)

    def _note(self, text: str) -> None:
        """Have it belong to the word that has begun, in all that encloses it."""
        for frame in self._frames:
            frame.word += text

    def _take(self, count: int) -> None:
        """Skip this many characters, which belong to a word."""
        text = self._line[self._at : self._at + count]
        self._done.append(text)
        self._at += count
        self._note(text)

    def _skip(self, end: int, where: str, how: str, *, literal: bool = False) -> None:
        """Go on to `end`: no item can be before it. `literal`: nor is anything put there for a variable's name."""
        if not literal:
            self._check_holder(self._holders.used_in(self._line[self._at : end]), where, how)
        inside = PLACEHOLDER.search(self._line[self._at : end])
        if inside and inside[0] != "{#}":
            raise self._refusal(inside[0], where, how)
        if inside:
            raise self._refusal(inside[0], where, "write it outside of it")
        self._take(end - self._at)

    def _read_quoted(self) -> None:
        character = self._line[self._at]
        if character == '"':
            self._take(1)
            self._frames.pop()
        elif not self._read_expansion(character):
            self._take(1)

    def _read_bare(self) -> None:
        frame, character = self._frames[-1], self._line[self._at]
        if character == "'":
            self._read_single_quoted()
        elif character == '"':
            self._take(1)
            self._frames.append(Frame(quotes=True))
        elif redirection := REDIRECTION.match(self._line, self._at):
            self._redirect(frame, redirection[0])
        elif character == "#" and not frame.word:
            end = self._line.find("\n", self._at)
            self._pass(len(self._line) if end < 0 else end)
        elif self._line.startswith("((", self._at) and not frame.words and not frame.word:
            self._compute(self._closing("(", ")"))
        elif character in _BREAKS:
            self._break(frame, character)
        elif character.isspace():
            frame.end_word()
            self._pass(self._at + 1)
        elif not self._read_expansion(character):
            self._take(1)

    def _read_single_quoted(self) -> None:
        end = self._line.find("'", self._at + 1) + 1 or len(self._line)
        if self._line[self._at - 1 : self._at] == "$" and "\\'" in self._line[self._at : end]:
            # Where that ends, shells are not of one mind.
            raise self._refusal("{}", "in a line with \\' within $'…'", 'write "double quotes" there')
        self._skip(end, "in 'single quotes'", f"{_QUOTED}; or {_AS_ARGUMENT}", literal=True)

    def _redirect(self, frame: Frame, sign: str) -> None:
        """What opens a file, or begins a here-document or a `<(…)`."""
        if self._line.startswith("<<<", self._at):
            self._skip(len(self._line), "after <<<", "write: printf '%s\\n' {} | …")
        elif self._line[self._at : self._at + 2] in ("<(", ">("):
            self._take(2)
            self._open_frame()
        else:
            self._here_document |= sign.startswith("<<")
            frame.begin_redirection()
            self._pass(self._at + len(sign))

    def _break(self, frame: Frame, character: str) -> None:
        """What ends a command, begins or ends a `(…)`, or ends a `$(…)`."""
        if character == ")" and not frame.depth and len(self._frames) > 1:
            self._end_command(frame)
            self._take(1)
            self._frames.pop()
            return
        if character == "(" and frame.word:
            self._read_behind_name(frame)
            return
        frame.depth = max(0, frame.depth + {"(": 1, ")": -1}.get(character, 0))
        frame.end_word()
        if character == "\n" and self._here_document:
            self._skip(len(self._line), "in, or after, a here-document", "use --stdin, or printf '%s\\n' {} | …")
            return
        if len(self._frames) > 1 and "case" in frame.words:
            self._skip(len(self._line), "after a `case` within $(…)", "put the case into a file of its own")
            return
        self._end_command(frame)
        frame.piped |= character == "|"
        self._pass(self._at + 1)

    def _read_behind_name(self, frame: Frame) -> None:
        """A parenthesis that a word goes on with: `f() …`, or `list=(…)`."""
        end = re.compile(r"\(\s*\)").match(self._line, self._at)
        if end is None:
            self._take(1)
            self._open_frame()
        else:
            frame.end_command()
            self._pass(end.end())

    def _open_frame(self) -> None:
        self._frames.append(Frame(piped=any(frame.piped for frame in self._frames)))

    def _end_command(self, frame: Frame) -> None:
        frame.end_word()
        if frame.piped and self.found and (reader := runs_input(frame.words)):
            raise self._refusal(self.found[0], f"in a line that is piped into {reader}, which runs it", _AS_ARGUMENT)
        frame.end_command()

    def _read_expansion(self, character: str) -> bool:
        """What is the same within double quotes and without."""
        line, at = self._line, self._at
        if line.startswith("\\\n", at):
            self._pass_over(2)
        elif character == "\\":
            # Not over a placeholder: that is refused there.
            self._take(1 if PLACEHOLDER.match(line, at + 1) else 2)
        elif character == "`":
            end = re.compile(r"(?:[^`\\]|\\.)*`", re.DOTALL).match(line, at + 1)
            self._skip(end.end() if end else len(line), "in `backquotes`", "write $(…) instead of them")
        elif line.startswith("$((", at):
            self._at += 1
            end_at = self._closing("(", ")")
            self._at -= 1
            self._compute(end_at)
        elif line.startswith("$(", at):
            self._take(2)
            self._open_frame()
        elif line.startswith("${", at) and not PLACEHOLDER.match(line, at + 1):
            self._at += 1
            end_at = self._closing("{", "}")
            self._at -= 1
            name = self._holders.computed_in(computed_in(line[at:end_at]))
            self._check_holder(name, "in a place where ${…} computes", _COMPUTED)
            self._check_use(line[at:end_at])
            self._skip(end_at, "in ${…}", "give it to a variable first, as in: x={}; …", literal=True)
        else:
            self._check_use(line[at:])
            return False
        return True

    def _check_use(self, text: str) -> None:
        """A variable that holds an item is as good as the item."""
        if (name := self._holders.begins(text)) is not None:
            self._check_text_only(f"{{}}, as {name},")

    def _compute(self, end: int) -> None:
        """Go on over arithmetic."""
        self._check_holder(self._holders.computed_in(self._line[self._at : end]), "in arithmetic", _COMPUTED)
        self._skip(end, "in arithmetic", _COMPUTED, literal=True)

    def _closing(self, opening: str, closing: str) -> int:
        """Where what is opened here is closed again, or the line's end."""
        depth = 0
        for place in range(self._at, len(self._line)):
            depth += {opening: 1, closing: -1}.get(self._line[place], 0)
            if depth == 0:
                return place + 1
        return len(self._line)

    def _pass(self, end: int) -> None:
        """Go on to `end`; what is passed belongs to no word of this frame, but to those that enclose it."""
        text = self._line[self._at : end]
        self._done.append(text)
        self._at = end
        for frame in self._frames[:-1]:
            frame.word += text

    def _pass_over(self, count: int) -> None:
        """Go on by characters that belong to nothing: the end of a line that goes on."""
        self._done.append(self._line[self._at : self._at + count])
        self._at += count

    def _refusal(self, placeholder: str, where: str, how: str) -> TaskError:
        return TaskError(
            f"--shell: {placeholder} is {where}, where the item would be code, or not its own text, in the line "
            f"{self._line!r:.200}; {how}"
        )
