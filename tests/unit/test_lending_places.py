"""Which children lend their places while their tasks wait for the cluster, and what is said when none is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sheaf_worker.pool import lending
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.lending import Lending, waits
from tests.pool_child import block, make_child, make_ready


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[ChildHandle, Any]]]:
    monkeypatch.setattr(lending, "LEAST", 1)
    monkeypatch.setattr(lending, "FOR_EACH", 0)
    pairs = [make_child(number) for number in range(2)]
    for number, (child, process) in enumerate(pairs):
        make_ready(child)
        child.give(block(number))
        process.writer.begin(number)
    yield pairs
    for child, process in pairs:
        if child.state.value != "gone":
            process.close()


def test_a_child_waits_when_all_that_it_has_begun_does(pairs: list[tuple[ChildHandle, Any]]) -> None:
    child, process = pairs[0]
    assert not waits(child)
    child.note_waiting(1)
    assert waits(child)
    child.give(block(7))
    process.writer.begin(7)
    assert not waits(child), "one of its two items goes on"
    child.take([7])
    process.writer.finish(7)
    child.finished(1, 0.1)
    assert not waits(child), "a result has come since"


def test_it_lends_its_place_until_it_is_free(pairs: list[tuple[ChildHandle, Any]]) -> None:
    (first, _), (second, _) = pairs
    places = Lending()
    first.note_waiting(1)
    assert places.to_lend([first, second], 2) == [first]
    places.lent.append(first)
    assert places.returned() == []
    first.take([0])
    assert places.returned() == [first]
    assert places.lent == []


def test_one_that_has_ended_meanwhile_does_not_return(pairs: list[tuple[ChildHandle, Any]]) -> None:
    child, _ = pairs[0]
    places = Lending()
    places.lent.append(child)
    child.bury()
    assert places.returned() == []
    assert places.lent == []


def test_when_all_wait_and_none_can_be_lent_it_is_reported_and_one_is_killed(
    pairs: list[tuple[ChildHandle, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    children = [child for child, _ in pairs]
    places = Lending()
    places.lent.append(children[0])
    for child in children:
        child.note_waiting(1)
    monkeypatch.setattr(lending, "REPORTED_S", 1e9)
    monkeypatch.setattr(lending, "STUCK_S", 1e9)
    assert places.to_lend(children, 2) == []
    assert places.problem is None
    assert places.hopeless(children) is None

    monkeypatch.setattr(lending, "REPORTED_S", 0.0)
    monkeypatch.setattr(lending, "STUCK_S", 0.0)
    assert "all 2 processes of this worker run tasks that wait" in (places.problem or "")
    children[0].heard()
    assert places.hopeless(children) is children[0], "the one that was heard of last has the deepest call"
    places.moved()
    assert places.problem is None


def test_it_is_no_problem_while_one_works(
    pairs: list[tuple[ChildHandle, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "REPORTED_S", 0.0)
    children = [child for child, _ in pairs]
    places = Lending()
    places.lent.append(children[0])
    children[0].note_waiting(1)
    places.to_lend(children, 2)
    assert places.problem is None
