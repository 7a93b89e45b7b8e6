"""Commands that read one of their arguments as code: an item must not be a part of that."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BUILT_IN = frozenset(("eval", "trap", "alias", "let", "[["))
#: With these a name is code, too (`a[$(…)]`); a value is not.
_DECLARING = frozenset(
    ("declare", "typeset", "local", "export", "readonly", "unset", "read", "mapfile", "printf", "test", "[")
)
#: Commands in front of another one.
_PREFIXES = frozenset(
    ("command", "builtin", "exec", "env", "sudo", "doas", "nohup", "nice", "time", "setsid", "stdbuf")
)
_WITH_CODE_OPTION = re.compile(
    r"(?:ba|da|z|k|mk|a|c|tc|fi|rba)?sh|busybox|su|python[\d.]*|pypy[\d.]*|perl[\d.]*|ruby[\d.]*|node|nodejs|deno|php[\d.]*"
    r"|lua[\d.]*|Rscript|osascript|julia|psql|mysql|sqlite3|script|watch|flock|parallel|xargs|entr"
)
_CODE_OPTION = re.compile(r"-[A-Za-z]*[cerp]|--(?:command|eval|exec|print|execute)")
#: Programs whose first argument is code, and the options of theirs that have a value: code themselves, or not.
_CODE_FIRST = {"awk": "vFf", "gawk": "vFf", "mawk": "vFf", "nawk": "vFf", "sed": "f", "gsed": "f", "jq": "f"}
#: Programs whose arguments after the first are a line for a shell, and their options that have a value.
_CODE_AFTER_FIRST = {"ssh": "bcDEeFIiJLlmOopQRSWwB"}
#: Programs that run a shell line made of all of their arguments.
_CODE_ALL = frozenset(("watch", "parallel"))

#: A shell that a line is piped into, as its last words or before the next command.
PIPED_SHELL = re.compile(r"\|\s*(?:\w+\s+)?(?:\S*/)?(?:ba|da|z|k|mk|a)?sh(?:\s+-\w*)*\s*(?:[;&|)\n#]|$)")


def reads_code(words: Sequence[str], word: str) -> str | None:
    """Return the command for which a further argument is code; None: it is only text. `word`: how that one begins."""
    plain = [re.sub(r"[\"'\\]", "", one) for one in words]
    if re.match(r"\w+\[", word):
        return "the shell (an index)"
    for place, name in enumerate(part.rpartition("/")[2] for part in plain):
        behind = plain[place + 1 :]
        if _is_code(name, behind, word) and (name not in _BUILT_IN | _DECLARING or _is_command(plain[:place])):
            return name
    return None


def _is_command(before: Sequence[str]) -> bool:
    """Whether a word behind these is the name of a command, and not the argument of another one."""
    return all(word.rpartition("/")[2] in _PREFIXES or re.match(r"\w+=|-", word) for word in before)


def _is_code(name: str, behind: Sequence[str], word: str) -> bool:
    if name in _BUILT_IN or name in _CODE_ALL:
        return True
    if name in _DECLARING:
        return "=" not in word and (name not in ("test", "[", "printf") or "-v" in behind[-1:])
    if _WITH_CODE_OPTION.fullmatch(name):
        options = [one for one in behind if one != "--"][-1:] + re.findall(r"^-[A-Za-z]*[cerp](?=.)", word)
        return any(_CODE_OPTION.fullmatch(option) for option in options)
    if name in _CODE_FIRST:
        given = any(re.fullmatch(r"-[A-Za-z]*[ef].*|--(?:expression|file).*", one) for one in behind)
        is_value = bool(behind) and re.fullmatch(f"-[A-Za-z]*[{_CODE_FIRST[name]}]", behind[-1]) is not None
        is_code = bool(behind) and re.fullmatch(r"-[A-Za-z]*e|--expression", behind[-1]) is not None
        return is_code or not (given or is_value or _arguments(behind, _CODE_FIRST[name]))
    if name in _CODE_AFTER_FIRST:
        return bool(_arguments(behind, _CODE_AFTER_FIRST[name]))
    return False


def _arguments(words: Sequence[str], valued: str) -> list[str]:
    """The words that are neither options nor values of them."""
    found, is_value = [], False
    for word in words:
        if not is_value and not word.startswith("-"):
            found.append(word)
        is_value = not is_value and re.fullmatch(f"-[A-Za-z]*[{valued}]", word) is not None
    return found
