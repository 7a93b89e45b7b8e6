"""Numbers that travel as a range, and items that are divided among children which have many in progress at once."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import pytest

from sheaf.run.items import Item
from sheaf.run.number_range import Numbers
from sheaf.run.task_spec import TaskSpec
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.pool import ItemBlock, TaskRun
from sheaf_worker.pool.prefetch import AHEAD_S
from tests.integration.pool.helpers import ACT, MakePool, failure, gather, items, turn_until, value
from tests.pool_child import with_spec

NUMBERS = TaskRun("run", TaskSpec("pool_numbers:act", {"pass": "json"}), "out.jsonl")
FLOCK = TaskRun("run", TaskSpec("pool_flock:rest", {"concurrency": 4}), "out.jsonl")


def test_numbers_travel_as_a_range(make_pool: MakePool, tasks_dir: Path) -> None:
    """Each reaches the function as an int, whatever dies or fails on the way; its text is its digits."""
    (tasks_dir / "pool_numbers.py").write_text(
        "import os\n"
        "def act(number):\n"
        "    if number == 10 + 3 * 700:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return 1 / 0 if number == 10 + 3 * 40 else [type(number).__name__, number]\n"
    )
    pool = make_pool(2)
    pool.add(with_spec(NUMBERS, attempts=1), ItemBlock(range(1000), Numbers(range(10, 3010, 3))))
    results = gather(pool, 1000)

    assert failure(results.pop(700)).error == "ProcessDied"
    assert failure(results.pop(40)).error == "ZeroDivisionError"
    assert {index: value(result) for index, result in results.items()} == {
        index: ["int", 10 + 3 * index] for index in range(1000) if index not in (40, 700)
    }
    assert results[5].record == b'{"index":5,"item":"25","value":["int",25]}\n'  # type: ignore[union-attr]


def test_what_is_left_of_several_batches_is_done_item_by_item(make_pool: MakePool) -> None:
    """Stretches of indexes with gaps between them, in one block: each index has its own text."""
    pool = make_pool(1, child_items=0)
    left = [*range(300), *range(1000, 1700), *range(5000, 5100)]
    pool.add(ACT, items("0"))
    gather(pool, 1)
    blocks = [Item(index, f"text {index}") for index in left[1:]]
    pool.add(ACT, blocks)

    assert {index: value(result) for index, result in gather(pool, len(blocks)).items()} == dict(blocks)


def test_children_let_their_worker_go_first(make_pool: MakePool) -> None:
    """A worker that waited for a core behind its own children would keep every other worker from the output."""
    pool = make_pool(1)
    (child,) = pool.children

    turn_until(pool, lambda: os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5)


def test_numbers_reach_a_function_of_text_as_text(make_pool: MakePool, tasks_dir: Path) -> None:
    (tasks_dir / "pool_numbers.py").write_text("def act(text):\n    return text + '!'\n")
    pool = make_pool(1)
    pool.add(with_spec(NUMBERS, options={"pass": "text"}), ItemBlock(range(3), Numbers(range(7, 10))))

    assert [value(result) for _, result in sorted(gather(pool, 3).items())] == ["7!", "8!", "9!"]


def test_the_pool_says_how_many_items_could_be_in_progress(make_pool: MakePool, tasks_dir: Path) -> None:
    """Of an async function as many as it may have in flight, before one of them has ended."""
    (tasks_dir / "pool_flock.py").write_text("import asyncio\nasync def rest(text):\n    await asyncio.sleep(1000)\n")
    pool = make_pool(2)
    assert pool.free_capacity == 2
    pool.add(FLOCK, items("a"))

    # One of the children has it, and could have three more in flight; the other could have one, or who knows how many.
    turn_until(pool, lambda: pool.at_once == 5)
    assert pool.free_capacity == 4
    pool.add(FLOCK, [item._replace(index=item.index + 1) for item in items("b", "c", "d", "e", "f", "g")])
    # Should one get more than its four at first, it gives them back.
    turn_until(pool, lambda: pool.at_once == 8 and pool.free_capacity == 1)


def test_portions_become_small_near_the_end(
    make_pool: MakePool, tasks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one child would end long before the other: no child is sent more than half of a fair part of what is left."""
    (tasks_dir / "pool_naps.py").write_text("import time\ndef nap(text):\n    time.sleep(0.005)\n    return text\n")
    pool = make_pool(2)
    #: What the child has by then, what is left in all, what it was sent.
    sent: list[tuple[int, int, int]] = []
    give = ChildHandle.give

    def note(child: ChildHandle, block: ItemBlock) -> None:
        give(child, block)
        sent.append((len(child.outstanding), pool.waiting + pool.in_hand, len(block.indexes)))

    monkeypatch.setattr(ChildHandle, "give", note)
    pool.add(TaskRun("run", TaskSpec("pool_naps:nap"), "out.jsonl"), items(*range(400)))
    gather(pool, 400)

    least = math.ceil(AHEAD_S / 0.005) // 8
    assert max(count for _, _, count in sent) > 5 * least, "while much is left, portions are large"
    assert sent[-1][2] <= least
    assert not [entry for entry in sent if entry[0] > max(math.ceil(entry[1] / 4), least)], sent


def test_what_waits_behind_items_in_flight_goes_to_a_child_with_room(make_pool: MakePool, tasks_dir: Path) -> None:
    """Two children with four in flight each: what one has not begun goes to the other once it has room."""
    (tasks_dir / "pool_flock.py").write_text(
        "import asyncio\nasync def rest(text):\n    await asyncio.sleep(float(text))\n"
    )
    pool = make_pool(2)
    children, numbers = pool._places.children, itertools.count(100)

    def both_have_begun() -> bool:
        """Whichever is ready first may take all that there is: there is more until the other has had some, too."""
        if pool.waiting or any(child.outstanding for child in children):
            return False
        if all(child.state is State.READY for child in children):
            return True
        pool.add(FLOCK, [Item(next(numbers), "0"), Item(next(numbers), "0")])
        return False

    turn_until(pool, both_have_begun, results={})
    assert pool.free_capacity == 2, "a child without work asks for one item: what the next ones are like is not known"
    # Eight for each: one has four in flight for ever and four that wait behind them, the other has one for ever.
    texts = [1000, 1000, 1000, 1000, 0, 0, 0, 0, 1000, 0, 0, 0, 0, 0, 0, 0]
    pool.add(FLOCK, [Item(index, str(text)) for index, text in enumerate(texts, start=2)])

    assert set(gather(pool, 11)) == {index for index, text in enumerate(texts, start=2) if text == 0}
