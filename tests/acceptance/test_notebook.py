"""The session that docs/notebook-session.md shows, held anew."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def plain(page: str) -> list[str]:
    """Without the marks below a traceback's lines, which each version of Python sets differently."""
    return [line for line in page.splitlines() if line.strip(" ^~")]


def test_the_session_at_the_prompt_is_as_the_docs_show_it() -> None:
    """Connect, map, look at the failures, correct the function, do what failed again: the results are complete."""
    record = runpy.run_path(str(DOCS / "notebook_session.py"))["record"]

    assert plain(record()) == plain((DOCS / "notebook-session.md").read_text())
