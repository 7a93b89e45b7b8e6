"""Which process keeps an output's fence from all others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import IndexMissing
from sheaf.output import blocker as blocker_module
from sheaf.output.blocker import blocker
from sheaf.output.index.database import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "pages.txt", wait_s=60.0)
    made.create(b"")
    yield made
    made.roll_back()
    made.drop()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocker_module, "BLOCKS_S", 0.0)


def test_a_free_fence_is_blocked_by_nobody_and_stays_free(index: Index) -> None:
    """Whatever the last writer's note says."""
    index.note.write_owner("worker-1")

    assert blocker(index.output) is None

    index.begin()
    assert index.begun


def test_who_has_the_fence_blocks_the_others(index: Index) -> None:
    index.begin()
    index.note.write_owner("worker-1")

    found = blocker(index.output)

    assert found is not None
    assert found.who == "worker-1"


def test_who_has_it_only_for_a_moment_does_not(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocker_module, "BLOCKS_S", 1000.0)
    index.begin()
    index.note.write_owner("worker-1")

    assert blocker(index.output) is None


def test_nobody_blocks_a_fence_that_changes_hands(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another owner after the wait than before it."""
    index.begin()
    index.note.write_owner("worker-1")
    begin = Index.begin

    def meanwhile(self: Index) -> object:
        index.note.write_owner("worker-2")
        return begin(self)

    monkeypatch.setattr(Index, "begin", meanwhile)

    assert blocker(index.output) is None


def test_without_an_index_there_is_nothing_to_block(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing):
        blocker(tmp_path / "none.txt")
