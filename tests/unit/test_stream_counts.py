"""Generators that give too few or too many values: none is recorded for another's item, and few calls find out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sheaf.run.items import Done, Failed
from tests.functions import ListSource, run, values

#: Every generator gives an item's ten-fold, where it gives anything for it.
MISCOUNTING = """
import queue
import threading
from collections import deque
from sheaf import task

calls = 0
sizes = []

def batches(items, size):
    held = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held

def odd(x):
    return x % 37 == 5

@task(stream=True)
def left_out_of_a_batch(items):
    global calls
    calls += 1
    for batch in batches(items, 10):
        sizes.append(len(batch))
        yield from [x * 10 for x in batch if not odd(x)]

@task(stream=True)
def whole_batches_left_out(items):
    for batch in batches(items, 4):
        if not any(map(odd, batch)):
            yield from [x * 10 for x in batch]

@task(stream=True)
def left_out_of_a_pipeline(items):
    begun = deque()
    for item in items:
        if not odd(item):
            begun.append(item)
        if len(begun) > 8:
            yield begun.popleft() * 10
    while begun:
        yield begun.popleft() * 10

@task(stream=True)
def swallowed(items):
    for item in items:
        try:
            if odd(item):
                raise ValueError(item)
            yield item * 10
        except ValueError:
            continue

@task(stream=True)
def several_for_one(items):
    for item in items:
        yield from [item * 10] * (2 if odd(item) else 1)

@task(stream=True)
def several_for_one_in_a_pipeline(items):
    begun = deque()
    for item in items:
        begun.append(item)
        if len(begun) > 8:
            yield from several_for_one([begun.popleft()])
    while begun:
        yield from several_for_one([begun.popleft()])

@task(stream=True)
def ends_early(items):
    for batch in batches(items, 7):
        if any(map(odd, batch)):
            return
        yield from [x * 10 for x in batch]

@task(stream=True)
def raises_in_a_batch(items):
    global calls
    for batch in batches(items, 256):
        calls += 1
        sizes.append(len(batch))
        if any(map(odd, batch)):
            raise ValueError("one of these")
        yield from [x * 10 for x in batch]

@task(stream=True)
def raises_in_a_pipeline(items):
    begun = deque()
    for item in items:
        if odd(item):
            raise ValueError("one of these")
        begun.append(item)
        if len(begun) > 8:
            yield begun.popleft() * 10
    while begun:
        yield begun.popleft() * 10

@task(stream="pairs")
def pairs_left_out(items):
    for batch in batches(items, 10):
        yield from [(x, x * 10) for x in reversed(batch) if not odd(x)]

@task(stream="pairs")
def pairs_of_others(items):
    for item in items:
        yield (item if not odd(item) else item + 1), item * 10

@task(stream=True)
def taken_by_a_thread(items):
    ahead = queue.Queue(5)
    def take():
        for item in items:
            ahead.put(item)
        ahead.put(None)
    threading.Thread(target=take).start()
    while (item := ahead.get()) is not None:
        if not odd(item):
            yield item * 10

@task(stream=True)
def several_for_one_though_one_is_ahead(items):
    before = None
    for item in items:
        if before is not None:
            yield from several_for_one([before])
        before = item
    if before is not None:
        yield from several_for_one([before])

@task(stream=True)
def several_for_one_and_a_thread_asks(items):
    wanted, ahead, begun = threading.Semaphore(0), queue.Queue(), deque()
    def take():
        while wanted.acquire():
            ahead.put(next(items, None))
    threading.Thread(target=take, daemon=True).start()
    def ask():
        wanted.release()
        begun.append(ahead.get())
    while True:
        if not begun:
            ask()
        if (item := begun.popleft()) is None:
            return
        yield item * 10
        if odd(item):
            ask()
            yield item * 10
            ask()
"""

GENERATORS = [
    "left_out_of_a_batch",
    "whole_batches_left_out",
    "left_out_of_a_pipeline",
    "swallowed",
    "several_for_one",
    "several_for_one_in_a_pipeline",
    "ends_early",
    "raises_in_a_batch",
    "raises_in_a_pipeline",
    "pairs_left_out",
    "pairs_of_others",
    "taken_by_a_thread",
    "several_for_one_though_one_is_ahead",
    "several_for_one_and_a_thread_asks",
]


@pytest.fixture
def miscounting(tasks_dir: Path) -> ModuleType:
    (tasks_dir / "miscounting.py").write_text(MISCOUNTING)
    run("miscounting:swallowed", tasks_dir, [])
    return sys.modules["miscounting"]


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("pauses", [(), (3, 17, 18, 55)])
@pytest.mark.usefixtures("miscounting")
def test_each_value_is_its_own_items(tasks_dir: Path, generator: str, pauses: tuple[int, ...]) -> None:
    """Exactly the items for which the generator gives no value, or several, fail; all others have their own value."""
    source = ListSource([str(number) for number in range(150)], pauses)

    results = run(f"miscounting:{generator}", tasks_dir, [], source, **{"pass": "json"})

    assert sorted(result.index for result in results) == list(range(150))
    assert sorted(result.index for result in results if isinstance(result, Failed)) == [5, 42, 79, 116]
    for result in results:
        if isinstance(result, Done):
            assert json.loads(result.record)["value"] == result.index * 10
    assert not source.held


@pytest.mark.usefixtures("miscounting")
def test_the_message_names_the_generator_and_says_what_to_give(tasks_dir: Path) -> None:
    """With file and line, and how many values there were for how many items."""
    (failure,) = run("miscounting:left_out_of_a_batch", tasks_dir, ["5"], **{"pass": "json"})

    assert isinstance(failure, Failed)
    assert failure.error == "GeneratorMiscounts"
    assert failure.message.startswith(f"{tasks_dir}/miscounting.py:")
    assert (
        "the generator 'miscounting:left_out_of_a_batch' gave 0 values for 1 item; have it give one" in failure.message
    )


def test_a_bad_item_is_found_by_halving(tasks_dir: Path, miscounting: ModuleType) -> None:
    """In a batch of 256 by 2 calls a level at most, none of which waits for items that do not come."""
    source = ListSource([str(number * 37 + 6 - (number == 77)) for number in range(256)])

    results = run("miscounting:raises_in_a_batch", tasks_dir, [], source, **{"pass": "json"})

    assert [result.index for result in results if isinstance(result, Failed)] == [77]
    assert len(results) == 256
    assert miscounting.calls <= 1 + 2 * 8, miscounting.sizes
    assert source.lulls <= 1, "only the first call asked whether more comes"


STEADY = """
from collections import deque
from sheaf import task
calls = 0
@task(stream=True, concurrency=10)
def pipeline(items):
    global calls
    calls += 1
    begun = deque()
    for item in items:
        begun.append(item)
        if len(begun) > 8:
            yield begun.popleft() * 2
    while begun:
        yield begun.popleft() * 2
@task(stream=True)
def one_by_one(items):
    while True:
        yield next(items) * 2
@task(stream=True)
def big(items):
    last = next(items)
    for item in items:
        yield bytes(1 << 20)
        last = item
    yield bytes(1 << 20)
tries = {}
@task(stream=True, attempts=3, backoff_s=0.02)
def flaky(items):
    for item in items:
        tries[item] = tries.get(item, 0) + 1
        if item == "never" or (item == "later" and tries[item] < 3):
            raise ConnectionError(item)
        yield item * 2
@task(stream="pairs")
def copies(items):
    for item in reversed(list(items)):
        yield type(item)(item), repr(item)
"""


def test_a_pipeline_that_is_always_behind_holds_little(tasks_dir: Path) -> None:
    """It is asked for what it owes from time to time: after a number of items, or of bytes."""
    (tasks_dir / "steady.py").write_text(STEADY)
    source = ListSource([f"{number} " for number in range(1000)])

    results = run("steady:pipeline", tasks_dir, [], source)

    assert values(results) == [f"{number} " * 2 for number in range(1000)]
    assert 40 <= source.most_held <= 50
    assert sys.modules["steady"].calls <= 25
    source = ListSource(["x"] * 40)
    assert len(run("steady:big", tasks_dir, [], source)) == 40
    assert source.most_held <= 14


def test_a_generator_may_let_the_end_of_its_items_through(tasks_dir: Path) -> None:
    """As `yield f(next(items))` does."""
    (tasks_dir / "steady.py").write_text(STEADY)
    assert values(run("steady:one_by_one", tasks_dir, ["a", "b", "c"])) == ["aa", "bb", "cc"]


def test_an_item_of_a_stream_is_tried_as_often_as_its_task_says(tasks_dir: Path) -> None:
    """With pauses, in which the others are done."""
    (tasks_dir / "steady.py").write_text(STEADY)

    results = run("steady:flaky", tasks_dir, ["a", "later", "never", "b"])

    assert {result.index: result.attempts for result in results if isinstance(result, Failed)} == {2: 3}
    assert values([result for result in results if isinstance(result, Done)])[:2] == ["aa", "bb"]
    assert sorted(result.index for result in results) == [0, 1, 2, 3]


def test_pairs_tell_what_is_equal_to_python_only(tasks_dir: Path) -> None:
    """1, 1.0 and true are three items, also if the generator gives copies of them."""
    (tasks_dir / "steady.py").write_text(STEADY)
    texts = ["[1]", "[true]", "[1.0]", "[1]", "1", "1.0", "true"]

    results = run("steady:copies", tasks_dir, texts, **{"pass": "json"})

    found = {result.index: json.loads(result.record)["value"] for result in results if isinstance(result, Done)}
    assert found == {0: "[1]", 1: "[True]", 2: "[1.0]", 3: "[1]", 4: "1", 5: "1.0", 6: "True"}
