"""What became of the lines of a list: read, rejected, left out as duplicates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

#: Rejected lines that are shown on the terminal; the run's folder has all of them.
EXAMPLES = 5


class Line(NamedTuple):
    """One line of input; `problem` says why it cannot be used, if so (`text` is then what can be shown of it)."""

    source: str
    number: int
    text: str
    problem: str | None = None
    #: The lines that it covers: an entry of a table may have several.
    lines: int = 1


@dataclass(slots=True)
class Tally:
    """What became of the lines of input."""

    rejected: int = 0
    duplicates: int = 0
    #: The first few rejected lines, with the reason.
    examples: list[str] = field(default_factory=list)
    #: The lines that those cover.
    shown_lines: int = 0
    #: Earlier runs that cannot be opened, so that it is not known whether they were the same, and why.
    damaged: list[str] = field(default_factory=list)

    def shown(self) -> str:
        """The examples, one below the other, and how many more there are."""
        more = f"\n  … and {self.rejected - self.shown_lines:,} more" if self.rejected > self.shown_lines else ""
        return "".join(f"\n  {example}" for example in self.examples) + more
