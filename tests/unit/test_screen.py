"""How a run is shown while it goes on: what others have written is never obeyed by the terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from sheaf.broker.worker_registry import WorkerInfo
from sheaf.view.monitor import RunStatus
from sheaf_producer.progress.display import live_display

#: A title, a cleared screen, a bell, the other kind of escape, a change of direction, a forged line.
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b2J\u202e\nforged"
OBEYED = re.compile("\x1b\\]|\x1b\\[2J|\x07|\x9b|\u202e|^forged", re.MULTILINE)
CARDS = [
    WorkerInfo("w-1", {"label": f"label{HOSTILE}", "state": "blocked", "pool": "2"}, 0.0),
    WorkerInfo("w-2", {"label": "w-2", "state": f"state{HOSTILE}", "pool": "2"}, 0.0),
]
VIEW = RunStatus(10, 3, 1, 1.0, 10.0, CARDS, {"w-1": 4}, [f"problem{HOSTILE}"], cancelled=False)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, file: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    with live_display(f"10 items into title{HOSTILE}", "item") as drawing:
        drawing.show(VIEW)
    return file.getvalue()


def test_a_picture_holds_only_escapes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves the cursor and has colours; titles, workers, what they are at and problems add nothing to that."""
    drawn = shown(monkeypatch, Terminal())

    assert "\x1b[" in drawn
    assert all(f"{name}\\x1b]0;title\\x07" in drawn for name in ("title", "label", "state", "problem"))
    assert OBEYED.findall(drawn) == []


def test_lines_hold_no_escapes_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they become more lines than they are."""
    printed = shown(monkeypatch, io.StringIO())

    assert all(f"{name}\\x1b]0;title\\x07" in printed for name in ("title", "problem"))
    assert "\x1b" not in printed
    assert OBEYED.findall(printed) == []
    assert len(printed.splitlines()) == 3
