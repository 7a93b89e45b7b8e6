"""From an item to a command line: the words that were typed, with the item in the place of `{}` and its like."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

#: What may stand in a command, as in GNU parallel: the item; it without its suffix; its last part; its folder; its last
#: part without a suffix; its number, from 1.
_PLACEHOLDER = re.compile(r"\{(?:|\.|/|//|/\.|#)\}")


def command_line(words: Sequence[str], text: str, number: int, *, shell: bool, on_stdin: bool) -> list[str]:
    """Return the program and its arguments. A command without a placeholder gets the item as its last argument.

    With `shell` the words become one line for `/bin/sh`, the item quoted in it, so that no item is taken for code.
    """
    if not on_stdin and not any(_PLACEHOLDER.search(word) for word in words):
        words = [*words, "{}"]
    if not shell:
        return [_filled(word, text, number, quoted=False) for word in words]
    return ["/bin/sh", "-c", _filled(" ".join(words), text, number, quoted=True)]


def has_placeholder(word: str) -> bool:
    return _PLACEHOLDER.search(word) is not None


def _filled(word: str, text: str, number: int, *, quoted: bool) -> str:
    def value(match: re.Match[str]) -> str:
        found = _value(match[0], text, number)
        return shlex.quote(found) if quoted else found

    return _PLACEHOLDER.sub(value, word)


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
