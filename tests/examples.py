"""What each example says that it prints, to be compared with what it does print."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
#: The local site's address in the docstrings.
SITE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Example:
    script: str
    #: As they stand in the docstring's command line.
    arguments: tuple[str, ...]
    #: What stands below it.
    printed: str

    def at(self, site: str) -> tuple[list[str], str]:
        """Arguments and what is printed with the local site at another address."""
        return [each.replace(SITE, site) for each in self.arguments], self.printed.replace(SITE, site)


def read(path: Path) -> Example:
    """The command of a script's docstring that runs it, and the lines below it."""
    docstring = ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""
    command = rf"^    \$ python examples/{re.escape(path.name)}(.*)\n((?:    .*\n?)+)"
    found = re.search(command, docstring, re.MULTILINE)
    assert found, f"the docstring of {path} does not show how to run it, and what it prints then"
    printed = re.sub("^    ", "", found[2], flags=re.MULTILINE)
    return Example(path.name, tuple(found[1].split()), printed.rstrip("\n") + "\n")


ALL = [read(path) for path in sorted(EXAMPLES.glob("*.py"))]


def by_name(script: str) -> Example:
    (example,) = (each for each in ALL if each.script == script)
    return example
