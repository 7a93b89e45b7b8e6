"""Attempts with pauses, async functions, generators over a stream, setup: the loops beside the plain one."""

import json
from pathlib import Path

import pytest

from sheaf.core.errors import GeneratorMiscounts, TaskError
from sheaf.run.items import Done, Failed
from sheaf.tasks.function import setup
from sheaf.tasks.registry import resolve
from sheaf.tasks.tracebacks import split
from tests.functions import ListSource, by_index, run, values

FLAKY = """
from sheaf import task
tries = {}
def count(x):
    tries[x] = tries.get(x, 0) + 1
    return tries[x]
@task(attempts=3, backoff_s=0.05)
def f(x):
    if count(x) < int(x):
        raise ValueError(x)
    return tries[x]
@task(attempts=3, backoff_s=0.05)
async def g(x):
    return f(x)
"""


@pytest.mark.parametrize("name", ["flaky:f", "flaky:g"])
def test_an_item_that_raises_is_tried_again_while_others_go_on(tasks_dir: Path, name: str) -> None:
    """After a pause that doubles; the item's time counts from each try's beginning; it fails with its attempts."""
    (tasks_dir / "flaky.py").write_text(FLAKY)
    source = ListSource(["4", "2", "3", "1"])

    results = run(name, tasks_dir, [], source)

    assert by_index(results) == ["ValueError", 2, 3, 1]
    assert results[0].index == 3, "the one that needs no second try came first"
    failure = next(result for result in results if isinstance(result, Failed))
    assert failure.attempts == 3
    assert [wait_s for index, wait_s in source.postponed if index == 0] == [0.05, 0.0, 0.1, 0.0]


def test_the_runs_options_take_the_place_of_the_decorators(tasks_dir: Path) -> None:
    """One attempt only, for this run; a value that cannot be used is refused by name."""
    (tasks_dir / "flaky.py").write_text(FLAKY)
    assert values(run("flaky:f", tasks_dir, ["2"], attempts=1)) == ["ValueError"]
    with pytest.raises(TaskError, match="attempts='many' is not valid; give a whole number"):
        run("flaky:f", tasks_dir, ["2"], attempts="many")


def test_async_items_are_in_flight_together(tasks_dir: Path) -> None:
    """Each waits until three are there: no more than `concurrency`, no fewer."""
    (tasks_dir / "together.py").write_text(
        "import asyncio\nfrom sheaf import task\nhere = []\nmost = 0\n"
        "@task(concurrency=3)\nasync def f(x):\n"
        "    global most\n    here.append(x)\n    most = max(most, len(here))\n"
        "    while most < 3: await asyncio.sleep(0.001)\n"
        "    await asyncio.sleep(0.001)\n    here.remove(x)\n    return [x, most]\n"
    )
    task = resolve("together:f", tasks_dir)
    assert task.window({}) == 6

    assert by_index(run("together:f", tasks_dir, list("abcdefg"))) == [[x, 3] for x in "abcdefg"]


def test_an_async_item_that_takes_too_long_is_cancelled_alone(tasks_dir: Path) -> None:
    """A time-out raised by its own code is distinguished; so are cancellations and exits."""
    (tasks_dir / "late.py").write_text(
        "import asyncio, sys\nfrom sheaf import task\n"
        "@task(timeout_s=0.2)\nasync def f(x):\n"
        "    if x == 'slow': await asyncio.sleep(60)\n"
        "    if x == 'own': raise TimeoutError('own')\n"
        "    if x == 'cancel': raise asyncio.CancelledError\n"
        "    if x == 'exit': sys.exit(1)\n"
        "    await asyncio.sleep(0.01)\n    return x\n"
    )
    results = sorted(run("late:f", tasks_dir, ["slow", "own", "cancel", "exit", "good"]), key=lambda r: r.index)
    assert values(results) == ["Timeout", "TimeoutError", "CancelledError", "SystemExit", "good"]
    assert results[0] == Failed(0, "Timeout", "not finished within 0.2 s; it was cancelled", 1)


PIPELINE = """
from collections import deque
from sheaf import task
calls = 0
@task(stream=True)
def in_order(items):
    global calls
    calls += 1
    waiting = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) == 3:
            yield [waiting.popleft(), calls]
    while waiting:
        yield [waiting.popleft(), calls]
@task(stream="pairs")
def backwards(items):
    held = list(items)
    for item in reversed(held):
        yield item, ValueError("bad") if item == "bad" else item * 2
"""


def test_a_generator_takes_items_ahead_and_yields_in_order(tasks_dir: Path) -> None:
    """When no item comes for a moment it gives what it owes, and is called again: no pipeline waits for nothing."""
    (tasks_dir / "pipeline.py").write_text(PIPELINE)
    results = run("pipeline:in_order", tasks_dir, [], ListSource(list("abcdefg"), pauses=[5]))
    assert values(results) == [[letter, 1 if letter < "f" else 2] for letter in "abcdefg"]
    assert [result.index for result in results] == list(range(7))


def test_a_generator_may_answer_in_any_order(tasks_dir: Path) -> None:
    """With pairs of item and value; equal items too. An exception as a value is that item's failure."""
    (tasks_dir / "pipeline.py").write_text(PIPELINE)
    assert by_index(run("pipeline:backwards", tasks_dir, ["a", "bad", "a", "c"])) == ["aa", "ValueError", "aa", "cc"]
    options = {"pass": "json"}
    numbers = run("pipeline:backwards", tasks_dir, ["1", "[1]", "not JSON", '{"a": 1}'][:3], **options)
    assert by_index(numbers) == [2, [1, 1], "InputError"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    for item in items: pass\n    yield from []", "gave 0 values for 1 item; have it give one value per item"),
        ("    next(items); yield 1; yield 2", "gave 2 values for 1 item: it yielded 2, but there is no item left"),
        ("    yield next(items); raise KeyError('own')", "KeyError: 'own'"),
        ("    yield next(items); raise SystemExit('own')", "SystemExit: own"),
        ("    yield next(items); raise GeneratorExit('own')", "GeneratorExit: own"),
        ("    item = next(items); items = None; yield {1}", "returned a set that JSON cannot hold"),
    ],
)
def test_a_generator_that_does_not_keep_to_it_is_told_so(tasks_dir: Path, body: str, words: str) -> None:
    """Item by item, and with file and line."""
    (tasks_dir / "wrong.py").write_text(f"from sheaf import task\n@task(stream=True)\ndef f(items):\n{body}\n")
    failures = run("wrong:f", tasks_dir, ["a", "b"])
    assert sorted(failure.index for failure in failures) == [0, 1]
    for failure in failures:
        assert isinstance(failure, Failed) and words in failure.message, failure
        assert "values" not in words or f"{tasks_dir}/wrong.py:2: the generator 'wrong:f' gave" in failure.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    yield 1", "gave 1 value for 0 items: it yielded 1"),
        ("    yield from []", "ended without taking an item"),
    ],
)
def test_a_generator_that_takes_nothing_is_refused(tasks_dir: Path, body: str, words: str) -> None:
    """It is no item's fault; the error names file and line."""
    (tasks_dir / "wrong.py").write_text(f"from sheaf import task\n@task(stream=True)\ndef f(items):\n{body}\n")
    with pytest.raises(GeneratorMiscounts, match=words) as raised:
        run("wrong:f", tasks_dir, ["a", "b"])
    assert f"{tasks_dir}/wrong.py:2: " in str(raised.value)


SETUP = """
from sheaf import task
opened = []
closed = []
def plain():
    opened.append("plain")
    return {"model": len(opened)}
def with_end():
    yield "connection"
    closed.append("connection")
async def on_the_loop():
    import asyncio
    return asyncio.get_running_loop()
@task(setup=plain)
def f(text, model): return [text, model]
@task(setup=plain)
def add(a, model, b=0): return [a + b, model]
@task(setup=with_end)
def g(text, connection): return [text, connection]
@task(setup=on_the_loop)
async def h(text, loop):
    import asyncio
    return loop is asyncio.get_running_loop()
@task(setup=plain, stream=True)
def s(items, model):
    for item in items: yield [item, model]
@task(setup=lambda: 1 / 0)
def never(text, model): pass
"""


def test_setup_is_called_once_and_is_the_second_argument(tasks_dir: Path) -> None:
    """However often runs of the task come and go; a generator's end is called when the child ends."""
    (tasks_dir / "opener.py").write_text(SETUP)
    for _ in range(2):
        assert values(run("opener:f", tasks_dir, ["a", "b"])) == [["a", {"model": 1}], ["b", {"model": 1}]]
    assert values(run("opener:add", tasks_dir, ['[[2], {"b": 3}]'], **{"pass": "call"})) == [[5, {"model": 2}]]
    assert values(run("opener:s", tasks_dir, ["a"])) == [["a", {"model": 3}]]
    assert values(run("opener:h", tasks_dir, ["a"])) == [True]
    assert values(run("opener:g", tasks_dir, ["a"])) == [["a", "connection"]]
    import opener  # type: ignore[import-not-found]

    assert opener.closed == []
    setup.close_all()
    assert opener.closed == ["connection"]


def test_a_setup_that_fails_again_and_again_refuses_the_task(tasks_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the traceback; a start that is only slow is given time."""
    monkeypatch.setattr(setup, "PAUSES_S", (0.0,))
    (tasks_dir / "opener.py").write_text(SETUP)
    with pytest.raises(TaskError, match=r"the setup of 'opener:never' raised ZeroDivisionError: .*opener.py:"):
        resolve("opener:never", tasks_dir).window({})


def test_the_three_ways_to_pass_an_item(tasks_dir: Path) -> None:
    """As text, as its JSON value, or as a call's arguments; what cannot be read so is that item's failure."""
    (tasks_dir / "ways.py").write_text("def f(a, b=0): return [a, b]\n")
    assert values(run("ways:f", tasks_dir, ["1", "[1]"])) == [["1", 0], ["[1]", 0]]
    assert values(run("ways:f", tasks_dir, ["1", "x"], **{"pass": "json"})) == [[1, 0], "InputError"]
    calls = ['[[1], {"b": 2}]', "[[], {}]", "[1]", "x"]
    results = run("ways:f", tasks_dir, calls, **{"pass": "call"})
    assert values(results) == [[1, 2], "TypeError", "InputError", "InputError"]
    assert isinstance(results[2], Failed)
    assert "'[1]' is not JSON [[arguments], {names}]" in results[2].message
    with pytest.raises(TaskError, match="pass='pickle' is not one of text, json, call"):
        run("ways:f", tasks_dir, [], **{"pass": "pickle"})


def test_the_working_directory_is_back_for_the_next_item(tasks_dir: Path) -> None:
    """Also if the module has taken `chdir` for itself, and also if the item raised."""
    (tasks_dir / "walker.py").write_text(
        "import os\nfrom os import chdir\nfrom sheaf import task\ndef f(x):\n    was = os.getcwd()\n    chdir('/')\n"
        "    if x == 'bad': raise ValueError\n    return was\n@task(attempts=2, backoff_s=0)\ndef g(x): return f(x)\n"
    )
    here = str(Path.cwd())
    assert values(run("walker:f", tasks_dir, ["a", "bad", "c"])) == [here, "ValueError", here]
    assert by_index(run("walker:g", tasks_dir, ["a", "bad", "c"])) == [here, "ValueError", here]
    assert str(Path.cwd()) == here


def test_a_failure_keeps_its_traceback_and_its_place(tasks_dir: Path) -> None:
    """The innermost line of the user's own files, whatever library raised it; no line of Sheaf's; not without end."""
    (tasks_dir / "deep.py").write_text(
        "import json\ndef f(x):\n    if x == 'deep': return f(x)\n    if x == 'rude': raise Rude\n"
        "    return json.loads(x)\nclass Rude(Exception):\n    def __str__(self): return 1 / 0\n"
    )
    bad, deep, rude = run("deep:f", tasks_dir, ["{\nx", "deep", "rude"])
    assert isinstance(bad, Failed) and isinstance(deep, Failed) and isinstance(rude, Failed)
    fault = split(bad.message)
    assert fault.place == f"{tasks_dir}/deep.py:5"
    assert fault.summary.startswith("JSONDecodeError: Expecting property name")
    assert "json/decoder.py" in fault.traceback and "sheaf/tasks" not in fault.traceback
    assert deep.error == "RecursionError" and len(deep.message) < 7000
    assert "its text cannot be shown: ZeroDivisionError" in rude.message and "deep.py:4" in rude.message


def test_an_error_of_sheafs_own_below_a_function_is_its_items_failure(tasks_dir: Path) -> None:
    """A lock that could not be had, say: with its place and traceback, and it refuses no run."""
    (tasks_dir / "locker.py").write_text(
        "from sheaf import task\nfrom sheaf.core.errors import LockTimeout\ndef f(x): raise LockTimeout('busy')\n"
        "@task(stream=True)\ndef g(items):\n    yield f(next(items))\n"
    )
    (failure,) = run("locker:f", tasks_dir, ["a"])
    assert isinstance(failure, Failed)
    assert failure.error == "LockTimeout"
    assert split(failure.message).place == f"{tasks_dir}/locker.py:3"
    (failure,) = run("locker:g", tasks_dir, ["a"])
    assert isinstance(failure, Failed) and failure.message.startswith("LockTimeout: busy")


def test_values_that_a_record_cannot_hold_fail_their_item(tasks_dir: Path) -> None:
    """Named with item and type: sets, objects, keys JSON has not; bytes, NaN and lone surrogates come through."""
    (tasks_dir / "odd.py").write_text(
        "def f(x):\n    deep = []\n    for _ in range(100_000): deep = [deep]\n"
        "    return {'set': {1}, 'nan': float('nan'), 'inf': [float('-inf')], 'key': {(1, 2): 3}, 'deep': deep,\n"
        "            'twice': {1: 2, '1': 3},\n"
        "            'half': 'a\\ud800b', 'complex': 1j, 'object': object(), 'bytes': b'\\xff\\x00'}[x]\n"
    )
    kinds = {
        "set": "set",
        "twice": "dict",
        "key": "dict",
        "deep": "list",
        "complex": "complex",
        "object": "object",
    }
    *refused, half, blob, nan, inf = run("odd:f", tasks_dir, [*kinds, "half", "bytes", "nan", "inf"])
    for failure, kind in zip(refused, kinds.values(), strict=True):
        assert isinstance(failure, Failed), kind
        assert f"item {failure.index} returned a {kind} that JSON cannot hold" in failure.message, failure.message
    assert isinstance(half, Done) and json.loads(half.record)["value"] == "a\ud800b"
    assert isinstance(blob, Done) and json.loads(blob.record)["value_base64"] == "/wA="
    assert isinstance(nan, Done) and json.loads(nan.record)["value"] == "NaN"
    assert isinstance(inf, Done) and json.loads(inf.record)["value"] == ["-Infinity"]
