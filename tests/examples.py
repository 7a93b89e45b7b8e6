"""What each example says that it prints, to be compared with what it does print."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
#: Needs 20 packages, 150 MB, that nothing else does: they are in the image of the tests' stack only.
STACK_ONLY = "embed.py"
#: The local site's address in the first lines of the examples.
SITE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Example:
    #: What runs it: `python` or `sh`.
    program: str
    script: str
    #: As they are in the first lines' command.
    arguments: tuple[str, ...]
    #: What is below it.
    printed: str

    def at(self, site: str) -> tuple[list[str], str]:
        """Arguments and what is printed with the local site at another address."""
        return [each.replace(SITE, site) for each in self.arguments], self.printed.replace(SITE, site)


def read(path: Path) -> Example:
    """The command of a script's first lines that runs it, and the lines below it."""
    if path.suffix == ".py":
        program = "python"
        says = ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""
    else:
        program = "sh"
        says = re.sub("^# ?", "", path.read_text(), flags=re.MULTILINE)
    command = rf"^    \$ {program} examples/{re.escape(path.name)}(.*)\n((?:    .*\n?)+)"
    found = re.search(command, says, re.MULTILINE)
    assert found, f"the first lines of {path} do not show how to run it, and what it prints then"
    printed = re.sub("^    ", "", found[2], flags=re.MULTILINE)
    return Example(program, path.name, tuple(found[1].split()), printed.rstrip("\n") + "\n")


ALL = [read(path) for path in sorted([*EXAMPLES.glob("*.py"), EXAMPLES / "commands.sh"])]
BY_THEMSELVES = [each for each in ALL if each.script != STACK_ONLY]


def by_name(script: str) -> Example:
    (example,) = (each for each in ALL if each.script == script)
    return example
