"""From an item to a command line: the words that were typed, with the item in the place of `{}` and its like."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from sheaf.tasks.exec.shell_line import PLACEHOLDER, ShellLine, shell_line


def command_line(words: Sequence[str], text: str, number: int, *, shell: bool, on_stdin: bool) -> list[str]:
    """Return the program and its arguments. A command without a placeholder gets the item as its last argument.

    With `shell` the words are one line for `/bin/sh`, in which the item is a variable. Raises TaskError for a line in
    which it cannot be used where it is.
    """
    if shell:
        line = shell_line(tuple(words), on_stdin)
        values = [_value(placeholder, text, number) for placeholder in line.placeholders]
        return ["/bin/sh", "-c", line.opening + _numbered(line, number), "/bin/sh", *values]
    if not on_stdin and not any(map(has_placeholder, words)):
        words = [*words, "{}"]
    return [_filled(word, text, number) for word in words]


def shown(words: Sequence[str], text: str, number: int, *, shell: bool, on_stdin: bool) -> str:
    """The command for people, as they could type it."""
    if not shell:
        return shlex.join(command_line(words, text, number, shell=False, on_stdin=on_stdin))
    line = shell_line(tuple(words), on_stdin)
    line = ShellLine(_numbered(line, number), line.placeholders)
    return line.shown([shlex.quote(_value(placeholder, text, number)) for placeholder in line.placeholders])


def has_placeholder(word: str) -> bool:
    return PLACEHOLDER.search(word) is not None


def _numbered(line: ShellLine, number: int) -> str:
    return line.text.replace("${sheaf_number}", str(number))


def _filled(word: str, text: str, number: int) -> str:
    def value(match: re.Match[str]) -> str:
        return _value(match[0], text, number)

    return PLACEHOLDER.sub(value, word)


def _value(placeholder: str, text: str, number: int) -> str:
    folder, name = os.path.split(text)
    match placeholder:
        case "{.}":
            return os.path.splitext(text)[0]  # noqa: PTH122  any text, not only a path: nothing of it may change
        case "{/}":
            return name
        case "{//}":
            return folder or "."
        case "{/.}":
            return os.path.splitext(name)[0]  # noqa: PTH122
        case "{#}":
            return str(number)
    return text
