"""How a batch is divided whose workers died with it, and which item is to fail."""

from __future__ import annotations

from sheaf.broker.suspects import Note
from sheaf_worker.claim.isolation import DEATHS, PARTS, _plan
from sheaf_worker.pool.backlog import ItemBlock

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
