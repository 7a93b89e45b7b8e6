"""One word, one meaning: words that were given up do not come back, and the glossary says what the others mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("sheaf", "worker", "producer", "services", "tasks", "examples", "benchmarks", "tests", "docs", ".github")
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docker-compose.yml",
    "Dockerfile",
    "Makefile",
    "pyproject.toml",
)
KINDS = {".py", ".md", ".lua", ".yml", ".toml", ".sh"}
#: Decisions are records of their day, in the words of their day; this file names what it looks for.
LEFT_OUT = {ROOT / "docs/decisions", ROOT / "tests/unit/test_words.py"}

#: Names that had no meaning outside of this project, or several within it -> what is said instead.
OLD_NAMES = {
    "arena": "ring",
    "barren": "failed starts",
    "bell": "wakeup",
    "card": "worker's entry",
    "conclude": "finish",
    "convict": "charge",
    "crowded": "over the limit",
    "deaf": "read=False",
    "deliver": "submit, receive",
    "delivery": "submission",
    "ears": "event loop",
    "feeder": "dispatcher, reconciler",
    "gathering": "commit buffer",
    "guilty": "suspect, harmful",
    "heed": "ignore",
    "holdings": "in flight",
    "hungry": "free capacity",
    "keeper": "heartbeat",
    "loan": "borrow",
    "lot": "block",
    "nudge": "beat_now",
    "roster": "worker registry",
    "surplus": "unstarted",
    "taker": "fetcher, consumer",
    "trash": "cleanup",
    "turnstile": "write transaction",
    "wish": "request",
}
#: Turns of phrase that read like a translation -> what a reader expects.
OLD_PHRASES = {
    r"whoever": "name the process or the user, or `anyone who`",
    r"nobody": "no process, no user, nothing; or the passive",
    r"somebody": "another process, a user, something; or the passive",
    r"told": "asked, notified, known, reported",
    r"proof kit": "chaos kit",
    r"so many": "this many",
    r"in a row": "consecutive",
    r"parted by": "separated by",
    r"(?:lie|lies|lay|lying) (?:in|at|on|there|beside|beyond|behind|under|outside|elsewhere|aside)": "is",
    r"(?:stand|stands|stood|standing) (?:in|at|there|still|under|beside|behind|between|on|before)": "is, is paused",
}
#: What stays all the same, as it is written -> why.
EXCEPTIONS = {
    '"sheaf:bell"': "a key in Redis, by which workers of earlier versions are woken too",
    "a bell, the other kind": "the terminal's bell",
}


def pages() -> Iterator[tuple[str, str]]:
    """Every file of ours that people read, with its text."""
    found = [ROOT / name for name in FILES]
    found += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    for path in found:
        if path.is_file() and not LEFT_OUT & {path, *path.parents}:
            text = path.read_text(encoding="utf-8")
            for excepted in EXCEPTIONS:
                text = text.replace(excepted, "")
            yield str(path.relative_to(ROOT)), text


def uses(pattern: re.Pattern[str], better: dict[str, str], *, lower: bool) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}; say: {better[match.lastgroup or '']}"
        for name, text in pages()
        for match in pattern.finditer(text.lower() if lower else text)
    ]


def test_old_names_do_not_come_back() -> None:
    """Nor as a part of a longer name, in snake or camel case, nor in the plural."""
    words = "|".join(f"(?P<{word}>[{word[0].upper()}{word[0]}]{word[1:]})" for word in OLD_NAMES)
    pattern = re.compile(rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?:{words})s?(?![a-z])")
    assert uses(pattern, OLD_NAMES, lower=False) == []


def test_what_reads_like_a_translation_does_not_come_back() -> None:
    """Neither in comments and messages nor on pages."""
    numbered = {f"p{number}": phrase for number, phrase in enumerate(OLD_PHRASES)}
    pattern = re.compile("|".join(rf"(?P<{name}>\b(?:{phrase})\b)" for name, phrase in numbered.items()))
    assert uses(pattern, {name: OLD_PHRASES[phrase] for name, phrase in numbered.items()}, lower=True) == []


def test_the_glossary_is_sorted_and_each_word_is_in_it_once() -> None:
    """So that a reader finds a word, and one meaning."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.partition("\n## Words\n")[2].partition("\n## ")[0]
    words = re.findall(r"^\| (.+?) \| .+ \|$", section, flags=re.MULTILINE)[1:]
    assert len(words) >= 50
    assert words == sorted(set(words), key=str.lower)
