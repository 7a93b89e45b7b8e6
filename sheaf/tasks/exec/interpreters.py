"""Commands that read one of their arguments as code: an item must not be a part of that."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Words after which another command begins.
OPENERS = frozenset(("{", "}", "!", "if", "then", "elif", "else", "while", "until", "do", "time", "coproc"))
_BUILT_IN = frozenset(("eval", "trap", "alias", "let", "[["))
#: With these a name is code, too (`a[$(…)]`); a value is only if the name is that of a number.
_DECLARING = frozenset(
    ("declare", "typeset", "local", "export", "readonly", "unset", "read", "mapfile", "printf", "test", "[")
)
_WITH_KINDS = frozenset(("declare", "typeset", "local"))
#: Commands in front of another one.
_PREFIXES = frozenset(
    ("command", "builtin", "exec", "env", "sudo", "doas", "nohup", "nice", "time", "setsid", "stdbuf")
)
_SHELLS = r"(?:ba|da|z|k|mk|a|c|tc|fi|rba)?sh"
_LANGUAGES = r"(?:python|pypy|perl|ruby|php|lua)[\d.]*|node|nodejs|deno|Rscript|osascript|julia"
_DATABASES = frozenset(("psql", "mysql", "mariadb", "sqlite3"))
_INTERPRETER = re.compile(f"{_SHELLS}|{_LANGUAGES}")
_WITH_CODE_OPTION = re.compile(
    f"{_SHELLS}|{_LANGUAGES}|busybox|su|psql|mysql|mariadb|sqlite3|script|watch|flock|parallel|xargs|entr"
)
_CODE_OPTION = re.compile(r"-[A-Za-z]*[ceErp]|-[A-Za-z]*c[A-Za-z]*|--(?:command|eval|exec|print|execute)")
_OPTION_WITH_CODE = re.compile(r"-[A-Za-z]*[ceErp].")
#: Options of shells that have a value: `-o pipefail`.
_VALUED_OPTION = re.compile(r"[-+][A-Za-z]*[oO]|--(?:rc|init-)file")
#: Programs whose first argument is code, and the options of theirs that have a value: code themselves, or not.
_CODE_FIRST = {"awk": "vFf", "gawk": "vFf", "mawk": "vFf", "nawk": "vFf", "sed": "f", "gsed": "f", "jq": "f"}
#: Programs whose arguments after the first are code: a line for a shell, or SQL; and their options that have a value.
_CODE_AFTER_FIRST = {"ssh": "bcDEeFIiJLlmOopQRSWwB", "sqlite3": ""}
#: Programs that run a shell line made of all of their arguments.
_CODE_ALL = frozenset(("watch", "parallel"))
#: Programs that run what comes in, whatever their arguments.
_CODE_INPUT = frozenset(("at", "batch"))
#: Programs that run another one, after options and arguments of their own.
_RUNNERS = _PREFIXES | {"timeout", "chroot", "unshare", "ssh", "xargs"}

#: What the shell puts something else for: the word may be nothing at all then.
_EXPANSION = re.compile(r"\$\w+|\$[@*#?$!-]|\$\{[^}]*\}|\$\(.*\)|`[^`]*`|[*?]", re.DOTALL)


def reads_code(words: Sequence[str], word: str) -> str | None:
    """Return the command for which a further argument is code; None: it is only text. `word`: how that one begins."""
    if re.match(r"\w+\[", word):
        return "the shell (an index)"
    plain = [_plain(one) for one in words]
    for place, name in enumerate(map(_name, plain)):
        command = name not in _BUILT_IN | _DECLARING or _is_command(plain[:place])
        if command and _is_code(name, _there(plain[place + 1 :]), _plain(word)):
            return name
    return None


def runs_input(words: Sequence[str]) -> str | None:
    """Return the command that takes what is piped into it for code; None: it is only text."""
    plain = [_plain(one) for one in words]
    for place, name in enumerate(map(_name, plain)):
        if not (_is_command(plain[:place]) or _name(plain[0]) in _RUNNERS):
            return None
        following = _there(plain[place + 1 :])
        if name == "xargs":
            return _given_code(following)
        if _is_fed(name, following):
            return name
    return None


def _is_fed(name: str, following: Sequence[str]) -> bool:
    """Whether a program has nothing else to run than what comes in."""
    if name in _CODE_INPUT:
        return True
    arguments = _arguments(following, "oO" if re.fullmatch(_SHELLS, name) else _CODE_AFTER_FIRST.get(name, ""))
    if _INTERPRETER.fullmatch(name):
        return not arguments or any(re.fullmatch("-[a-z]*s|-", one) for one in following)
    if name in _DATABASES:
        return len(arguments) < 2 and not any(map(_CODE_OPTION.match, following))
    return (name == "ssh" and len(arguments) < 2) or (name == "parallel" and not arguments)


def _given_code(words: Sequence[str]) -> str | None:
    """The command that `xargs` with these arguments hands code to: at its end, or in the place of a word."""
    given = re.search(r"(?:^|\0)(?:-[A-Za-z]*I\0?|--replace=)([^\0]+)", "\0".join(words))
    at = [place for place, word in enumerate(words) if given and given[1] in word and not word.startswith("-I")]
    for place in at or [len(words)]:
        word = words[place] if place < len(words) else ""
        if (reader := reads_code(words[:place], word)) is not None:
            return reader
    return None


def _plain(word: str) -> str:
    """The word without what is put into it later, and without quotation marks."""
    return re.sub(r"\$?[\"']|\\", "", _EXPANSION.sub("", word))


def _name(word: str) -> str:
    """A command by its name, wherever it is."""
    return word.rpartition("/")[2]


def _there(words: Sequence[str]) -> list[str]:
    """Without those that may be nothing: they are not an argument that another one certainly follows."""
    return [word for word in words if word]


def _is_command(before: Sequence[str]) -> bool:
    """Whether a word after these is the name of a command, and not the argument of another one."""
    opened = max((place for place, word in enumerate(before) if word in OPENERS), default=-1)
    return all(word.rpartition("/")[2] in _PREFIXES or re.match(r"\w+=|-", word) for word in before[opened + 1 :])


def _is_code(name: str, following: Sequence[str], word: str) -> bool:
    if name in _BUILT_IN or name in _CODE_ALL:
        return True
    if name in _DECLARING:
        return _is_name(name, following, word)
    if _WITH_CODE_OPTION.fullmatch(name) and (_OPTION_WITH_CODE.match(word) or _awaits_code(following)):
        return True
    if name in _CODE_FIRST:
        given = any(re.fullmatch(r"-[A-Za-z]*[ef].*|--(?:expression|file).*", one) for one in following)
        is_value = bool(following) and re.fullmatch(f"-[A-Za-z]*[{_CODE_FIRST[name]}]", following[-1]) is not None
        is_code = bool(following) and re.fullmatch(r"-[A-Za-z]*e|--expression", following[-1]) is not None
        return is_code or not (given or is_value or _arguments(following, _CODE_FIRST[name]))
    if name in _CODE_AFTER_FIRST:
        return bool(_arguments(following, _CODE_AFTER_FIRST[name]))
    return False


def _is_name(name: str, following: Sequence[str], word: str) -> bool:
    """Whether an argument of a command that declares is a name, or a value that is read as one."""
    if name in ("test", "[", "printf"):
        return "-v" in following[-1:] or word.startswith("-v")
    return "=" not in word or (name in _WITH_KINDS and any(re.match(r"-[A-Za-z]*[in]", one) for one in following))


def _awaits_code(following: Sequence[str]) -> bool:
    """Whether the next word is an interpreter's code: an option said so, and only options have come since."""
    awaited = is_value = False
    for word in following:
        if _CODE_OPTION.fullmatch(word):
            awaited = True
        elif not (is_value or word.startswith(("-", "+"))):
            awaited = False
        is_value = _VALUED_OPTION.fullmatch(word) is not None
    return awaited


def _arguments(words: Sequence[str], valued: str) -> list[str]:
    """The words that are neither options nor values of them."""
    found, is_value = [], False
    for word in words:
        if not is_value and not word.startswith("-"):
            found.append(word)
        is_value = not is_value and bool(valued) and re.fullmatch(f"-[A-Za-z]*[{valued}]", word) is not None
    return found
