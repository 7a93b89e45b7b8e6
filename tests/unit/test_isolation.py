"""How a batch is divided whose workers died with it, and which item is to fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sheaf.broker.suspects import Note
from sheaf.core.errors import RedisFull
from sheaf.run.items import Batch, Failed
from sheaf_worker.claim import isolation
from sheaf_worker.claim.in_flight import InFlight, InFlightBatch
from sheaf_worker.claim.isolation import ALONE_S, DEATHS, PARTS, QUIET_S, Isolation, _Batch, _plan
from sheaf_worker.pool.backlog import ItemBlock
from tests.unit.test_in_flight import a_run, done

BLOCK = ItemBlock(range(100, 164), [str(index) for index in range(100, 164)])


def test_without_a_note_a_batch_is_done_in_parts() -> None:
    """What was in hand is not known: all of it is divided, nothing fails."""
    parts, suspect = _plan(BLOCK, None, 3, DEATHS)

    assert suspect is None
    assert len(parts) == PARTS
    assert [index for block, _ in parts for index in block.indexes] == list(BLOCK.indexes)
    assert [(note.first, note.end) for _, note in parts] == [(first, first + 8) for first in range(100, 164, 8)]


def test_the_part_that_was_in_hand_comes_first_in_smaller_parts() -> None:
    """The others follow, larger, for one of them may do it too."""
    parts, suspect = _plan(BLOCK, Note(116, 124, 3, 1), 4, DEATHS)

    assert suspect is None
    assert [list(block.indexes) for block, _ in parts[:8]] == [[index] for index in range(116, 124)]
    assert sorted(index for block, _ in parts for index in block.indexes) == list(BLOCK.indexes)
    assert max(len(block.indexes) for block, _ in parts[8:]) == 7


def test_an_item_fails_only_when_it_was_alone_in_hand_again_and_again() -> None:
    """Each death counts once; the last one is the verdict, and the others of the batch are still done."""
    note = Note(116, 124, 3, 1)
    for claims in range(4, 4 + DEATHS):
        parts, suspect = _plan(BLOCK, note, claims, DEATHS)
        assert suspect is None
        note = next(own for block, own in parts if list(block.indexes) == [120])
        assert note.deaths == max(0, claims - 4)

    parts, suspect = _plan(BLOCK, note, 4 + DEATHS, DEATHS)

    assert suspect is not None and (suspect.first, suspect.deaths) == (120, DEATHS)
    assert sorted(index for block, _ in parts for index in block.indexes) == [i for i in BLOCK.indexes if i != 120]


def test_a_batch_that_was_handed_back_in_peace_is_not_counted() -> None:
    """A worker that is stopped, again and again, with one item alone in hand, is nothing against that item."""
    note = Note(120, 121, 7, 1, deaths=DEATHS - 1)
    for _ in range(10):
        parts, suspect = _plan(BLOCK, note, 7, DEATHS)
        assert suspect is None
        note = parts[0][1]
    assert note.deaths == DEATHS - 1


def test_a_death_with_others_in_hand_counts_less() -> None:
    """It may have been one of those."""
    note = Note(120, 121, 7, alone=0)
    for claims in range(8, 8 + 3 * DEATHS - 1):
        parts, suspect = _plan(BLOCK, note, claims, DEATHS)
        assert suspect is None
        own = parts[0][1]
        note = Note(own.first, own.end, own.claims, 0, own.deaths, own.deaths_beside)

    assert _plan(BLOCK, note, 8 + 3 * DEATHS - 1, DEATHS)[1] is not None


def test_what_was_committed_meanwhile_is_no_suspect() -> None:
    """The part that was in hand is done: the rest is divided anew."""
    block = ItemBlock(range(140, 164), [str(index) for index in range(140, 164)])

    parts, suspect = _plan(block, Note(120, 121, 7, 1, deaths=9), 8, DEATHS)

    assert suspect is None
    assert [index for block, _ in parts for index in block.indexes] == list(range(140, 164))


# --- step by step ----------------------------------------------------------------------------------------------------


class FakeNotes:
    """Notes in memory; `full`: Redis takes none."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.full = False

    def read(self, batch: str) -> Note | None:
        return self.notes.get(batch)

    def write(self, batch: str, note: Note) -> None:
        if self.full:
            raise RedisFull("maxmemory is reached")
        self.notes[batch] = note

    def remove(self, batch: str) -> None:
        self.notes.pop(batch, None)


class Ward:
    """An isolation with a clock of its own, and a pool that holds what it was given until it is done."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.notes = FakeNotes()
        self.in_flight = InFlight()
        self.run = a_run(items=16, batch_size=16)
        self.given: list[list[int]] = []
        self.failed: list[Failed] = []
        self.idle = True
        notes: Any = self.notes
        self.isolation = Isolation(
            notes, self.in_flight, self._give, lambda run, failed: self.failed.append(failed), lambda: self.idle
        )

    def _give(self, claimed: InFlightBatch, block: ItemBlock) -> None:
        self.given.append(list(block.indexes))
        self.idle = False

    def claim(self, claims: int, note: Note | None = None) -> InFlightBatch:
        batch = self.run.manifest.batch(0)
        claimed = InFlightBatch.of(batch, self.run, range(16))
        self.in_flight.add(claimed)
        block = ItemBlock(range(16), [str(index) for index in range(16)])
        self.isolation.add(claimed, block, claims, note)
        return claimed

    def advance(self, after_s: float = 0.0) -> bool:
        self.now += after_s
        return self.isolation.advance()


@pytest.fixture
def ward(monkeypatch: pytest.MonkeyPatch) -> Ward:
    ward = Ward()
    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: ward.now))
    monkeypatch.setattr(
        isolation, "_Batch", lambda claimed, claims, parts: _Batch(claimed, claims, parts, since=ward.now)
    )
    return ward


def test_without_such_a_batch_nothing_is_kept_from_being_claimed(ward: Ward) -> None:
    assert not ward.advance()


def test_one_part_after_the_other_is_noted_and_done(ward: Ward) -> None:
    """The note is there before the part is given away, and says that nothing else is in hand."""
    ward.claim(3)

    assert ward.advance()
    assert ward.given == [[0, 1]]
    assert ward.notes.notes == {"run-1_0": Note(0, 2, 3, 1)}
    assert ward.advance(), "the part is in hand: nothing else is to be claimed"
    assert len(ward.given) == 1

    ward.idle = True
    assert ward.advance()
    assert ward.given == [[0, 1], [2, 3]]
    assert ward.notes.notes == {"run-1_0": Note(2, 4, 3, 1)}


def test_a_part_is_done_when_its_items_are_committed(ward: Ward) -> None:
    """Whatever else the pool has in hand."""
    ward.claim(3)
    ward.advance()
    ward.in_flight.settle(ward.run, done(0, 1))

    ward.advance()

    assert ward.given == [[0, 1], [2, 3]]
    assert ward.notes.notes["run-1_0"].alone == 0, "something else may be in hand"


def test_the_first_part_waits_for_what_is_in_hand_but_not_for_ever(ward: Ward) -> None:
    ward.idle = False
    ward.claim(3)

    assert ward.advance()
    assert ward.advance(QUIET_S - 1)
    assert ward.given == []
    assert ward.advance(1)
    assert ward.given == [[0, 1]]
    assert ward.notes.notes["run-1_0"].alone == 0


def test_a_part_that_takes_long_keeps_others_waiting_only_so_long(ward: Ward) -> None:
    """Then other batches are claimed beside it, and its note says so."""
    ward.claim(3)
    ward.advance()
    assert ward.advance(ALONE_S)

    assert not ward.advance(1)

    assert ward.notes.notes["run-1_0"].alone == 0
    assert not ward.advance()
    assert len(ward.given) == 1


def test_when_all_of_it_is_committed_its_note_goes(ward: Ward) -> None:
    ward.claim(3)
    ward.advance()
    while len(ward.given) < 8:
        ward.idle = True
        ward.advance()
    ward.idle = True
    assert not ward.advance(), "it only waits for its commit"
    ward.in_flight.settle(ward.run, done(*range(16)))

    assert not ward.advance()
    assert ward.notes.notes == {}


def test_a_batch_that_was_released_leaves_its_note(ward: Ward) -> None:
    """The next worker claims it, and has to know what was in hand."""
    ward.claim(3)
    ward.advance()
    ward.in_flight.drop_all()

    assert not ward.advance()
    assert ward.notes.notes == {"run-1_0": Note(0, 2, 3, 1)}


def test_the_item_that_has_killed_enough_workers_fails_and_the_others_are_done(ward: Ward) -> None:
    ward.claim(9, Note(5, 6, 8, 1, deaths=DEATHS - 1))

    (failed,) = ward.failed
    assert (failed.index, failed.error, failed.attempts) == (5, "ProcessDied", DEATHS)
    assert f"{DEATHS} times, with nothing else in hand" in failed.message
    ward.advance()
    assert 5 not in ward.given[0]


def test_of_an_item_that_was_not_always_alone_that_is_not_said(ward: Ward) -> None:
    ward.claim(9, Note(5, 6, 8, 1, deaths=DEATHS - 1, deaths_beside=1))

    (failed,) = ward.failed
    assert "nothing else in hand" not in failed.message
    assert failed.attempts == DEATHS + 1


def test_a_full_redis_takes_no_note_and_keeps_no_old_one(ward: Ward) -> None:
    """Work goes on, or Redis would never drain."""
    ward.notes.notes["run-1_0"] = Note(9, 10, 2, 1)
    ward.notes.full = True
    ward.claim(3)

    ward.advance()

    assert ward.given == [[0, 1]]
    assert ward.notes.notes == {}


def test_the_next_batchs_time_begins_when_the_one_before_it_is_through(ward: Ward) -> None:
    ward.idle = False
    first = ward.claim(3)
    second = InFlightBatch.of(Batch("run-2", 0, 0, 4), a_run("run-2", 4, 4), range(4))
    ward.in_flight.add(second)
    ward.isolation.add(second, ItemBlock(range(4), ["x"] * 4), 3, None)
    ward.now += 2 * QUIET_S
    ward.in_flight.drop_run(first.batch.run)

    assert ward.advance()
    assert ward.advance()

    assert ward.given == [], "it waits in its turn until nothing else is in hand"
