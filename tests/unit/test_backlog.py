"""What waits for the pool: in which order it is taken, and which run a child should serve."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sheaf.run.items import Item
from sheaf.run.number_range import Numbers
from sheaf_worker.pool import backlog as module
from sheaf_worker.pool.backlog import LONGEST_WAIT_S, Backlog, ItemBlock, Suspect, weight
from sheaf_worker.wire.channel import TaskRun
from tests.pool_child import RUN, block, with_spec

OTHER = RUN._replace(run="run-2")
#: Two runs of one program, which are one party.
FIRST, SECOND = (RUN._replace(run=f"session-20260101-000000-abcdef-{number}") for number in range(2))


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def indexes(backlog: Backlog, count: int, size: int = 1 << 20, run: TaskRun = RUN) -> list[int]:
    return list(backlog.take(run.run, count, size).indexes)


def test_items_are_taken_in_the_order_in_which_they_came() -> None:
    backlog = Backlog()
    backlog.add(RUN, block(0, 1, 2))
    backlog.add(RUN, block(10, 11))
    backlog.add(RUN, block(7), front=True)
    assert len(backlog) == backlog.count(RUN.run) == 6

    assert indexes(backlog, 3) == [7, 0, 1]
    assert indexes(backlog, 9) == [2, 10, 11]
    assert (len(backlog), backlog.runs()) == (0, set())


def test_no_more_is_taken_than_a_child_may_hold_but_always_one() -> None:
    backlog = Backlog()
    backlog.add(RUN, ItemBlock.of([Item(index, "x" * 10) for index in range(4)]))

    assert indexes(backlog, 9, size=25) == [0, 1]
    assert indexes(backlog, 9, size=1) == [2]
    backlog.add(RUN, ItemBlock.of([Item(9, "x" * 10)]), front=True)
    assert indexes(backlog, 9, size=15) == [9], "the next block does not fit"


def test_two_ranges_of_numbers_are_not_taken_as_one() -> None:
    backlog = Backlog()
    for first in (0, 100):
        backlog.add(RUN, ItemBlock(range(first, first + 5), Numbers(range(first, first + 5))))

    assert weight(Numbers(range(5))) == 0
    assert indexes(backlog, 9) == [0, 1, 2, 3, 4]
    assert indexes(backlog, 2) == [100, 101]
    assert backlog.count(RUN.run) == 3


def test_a_run_that_goes_on_with_another_version_of_its_task_is_done_by_that() -> None:
    backlog = Backlog()
    backlog.add(RUN, block(0))
    newer = with_spec(RUN, files={"tasks_of_mine.py": "digest"})
    backlog.add(newer, block(1))

    assert backlog.choose(RUN.run, None, ()) == newer


def test_a_child_stays_with_its_run_unless_another_has_waited_for_long(clock: Clock) -> None:
    backlog = Backlog()
    backlog.add(SECOND, block(0))
    clock.now += 0.1
    backlog.add(FIRST, block(0))
    party = "session-20260101-000000-abcdef"
    assert backlog.parties() == {party: 2}

    assert backlog.choose(party, None, ()) == SECOND, "who serves none begins with the oldest"
    assert backlog.choose(party, FIRST.run, ()) == FIRST
    clock.now += LONGEST_WAIT_S
    assert backlog.choose(party, FIRST.run, ()) == SECOND
    assert backlog.choose(party, FIRST.run, {SECOND.run}) == FIRST, "some child serves it already"
    assert backlog.choose("another party", FIRST.run, ()) is None


def test_suspects_are_no_partys_items_but_wait_here_too() -> None:
    backlog = Backlog()
    backlog.suspects.append(Suspect(RUN, Item(5, "five")))
    backlog.suspects.append(Suspect(OTHER, Item(6, "six")))
    assert (len(backlog), backlog.only_suspects, backlog.parties()) == (2, True, {})
    backlog.add(RUN, block(0))
    assert not backlog.only_suspects

    assert [item.index for item in backlog.drop(RUN.run)] == [0, 5]
    assert backlog.runs() == {OTHER.run}
    assert backlog.drop("unknown") == []


def test_blocks_are_replaced_in_their_places() -> None:
    backlog = Backlog()
    backlog.add(RUN, block(0, 1, 2, 3))
    backlog.add(RUN, block(8, 9))

    backlog.sift(RUN.run, lambda each: [part for part in each.cut(1) if 0 not in part.indexes])

    assert backlog.count(RUN.run) == 5
    assert [list(each.indexes) for each in backlog.blocks(RUN.run)] == [[1, 2, 3], [8], [9]]
    backlog.sift(RUN.run, lambda each: [])
    assert backlog.runs() == set()
    assert backlog.blocks(RUN.run) == []
