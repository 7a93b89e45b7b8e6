"""The note beside an output: two lines that are overwritten in place, and which bytes the second one explains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sheaf.output.index.intent import Intent, IntentNote

INTENT = Intent(offset=100, length=7, start=b"record\n".hex(), worker="worker-1", token=3)


@pytest.fixture
def note(tmp_path: Path) -> IntentNote:
    return IntentNote(tmp_path / "pages.txt.intent")


def test_owner_and_intent_are_read_as_they_were_written(note: IntentNote) -> None:
    """Each overwrites its own line only."""
    assert (note.owner(), note.read(), note.raw()) == (None, None, b"")

    note.write_owner("worker-1")
    assert note.read() is None
    note.write(INTENT)
    note.write_owner("worker-2")

    owner = note.owner()
    assert owner is not None and owner.who == "worker-2"
    assert note.read() == INTENT
    assert len(note.raw()) == 2 * IntentNote.INTENT_AT


def test_a_name_that_json_makes_too_long_is_left_out(note: IntentNote) -> None:
    """The lines do not move, whatever a host is called."""
    note.write_owner("\U0001f600" * 200)
    note.write(Intent(1, 2, "00", "\x01" * 5000, 3))

    owner, intent = note.owner(), note.read()
    assert owner is not None and owner.who == "?"
    assert intent is not None and intent.worker == "?"
    assert (intent.offset, intent.length, intent.token) == (1, 2, 3)


@pytest.mark.parametrize(
    ("offset", "found", "length", "explained"),
    [
        (100, b"record\n", 7, True),
        (100, b"rec", 3, True),
        (100, b"", 0, True),
        (101, b"rec", 3, False),
        (100, b"rex", 3, False),
        (100, b"record\n", 8, False),
    ],
)
def test_only_a_beginning_of_the_append_is_explained(offset: int, found: bytes, length: int, explained: bool) -> None:
    """At its place, no longer than it, with its first bytes: all else is a stranger's."""
    assert INTENT.explains(offset, found, length) is explained


@pytest.mark.parametrize(
    "change", [{"offset": -1}, {"length": "7"}, {"start": "0g"}, {"start": "000"}, {"token": 1.0}, {"worker": None}]
)
def test_a_line_that_a_disk_has_changed_explains_nothing(note: IntentNote, change: dict[str, object]) -> None:
    note.write(INTENT)
    head = note.raw()[: IntentNote.INTENT_AT]
    fields = {"offset": 100, "length": 7, "start": "00", "worker": "w", "token": 3, **change}
    note.path.write_bytes(head + json.dumps(fields).encode())
    assert note.read() is None

    note.path.write_bytes(head + b"{")
    assert note.read() is None
