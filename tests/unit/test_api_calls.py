"""The parts of the Python interface that need no cluster: functions' names, arguments as JSON, sizes of segments."""

from __future__ import annotations

import copy
import functools
import json
import math
import operator
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from sheaf.client.calls import Call, call_of, decode_item, encode_call, encode_items
from sheaf.client.executor import builtin_of
from sheaf.client.session.map_stream import _fitting
from sheaf.client.session.sizing import LARGEST, LARGEST_BYTES, ChunkSizer
from sheaf.client.shared.lock import SharedLock
from sheaf.client.shared.values import SharedDict
from sheaf.core.errors import InputError, TaskError, TaskFailed

TASKS = Path(__file__).parent
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def failure(error: str) -> TaskFailed:
    return TaskFailed(task="a:b", error=error, message=f"{error}: no", item=[1], attempts=2, traceback="Traceback …")


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (pow, "builtins:pow"),
        (math.sqrt, "math:sqrt"),
        (operator.neg, "operator:neg"),
        (json.dumps, "json:dumps"),
        ("shop:price", "shop:price"),
    ],
)
def test_a_function_is_called_by_the_name_that_others_find_it_by(function: Any, name: str) -> None:
    assert call_of(function, TASKS) == Call(name)


WRAPPED = """
import functools
def timed(f):
    @functools.wraps(f)
    def run(x): return f(x)
    return run
def double(x): return 2 * x
plus = timed(double)
again = timed(plus)
@timed
def decorated(x): return x
"""


def test_a_wrapped_function_is_not_taken_for_what_it_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """`functools.wraps` gives it the other's name: called by that, it would be another function."""
    module = types.ModuleType("wrapped_functions")
    exec(WRAPPED, vars(module))
    monkeypatch.setitem(sys.modules, "wrapped_functions", module)

    for name in ("double", "plus", "again", "decorated"):
        assert call_of(getattr(module, name), TASKS) == Call(f"wrapped_functions:{name}")
    assert call_of(functools.partial(module.plus, 1), TASKS) == Call("wrapped_functions:plus", (1,))
    with pytest.raises(TaskError, match="double is not the function that was given, but another of its name"):
        call_of(functools.wraps(module.double)(lambda x: x), TASKS)
    before = module.decorated
    exec(WRAPPED, vars(module))
    assert call_of(before, TASKS) == Call("wrapped_functions:decorated"), "its module was loaded again"


@pytest.mark.parametrize(
    ("shared", "way"),
    [(SharedLock(redis.Redis(), "log", 10.0), "lock(name)"), (SharedDict(redis.Redis(), "d"), "dict(name)")],
)
def test_what_is_shared_is_passed_by_name_and_the_message_says_how(shared: object, way: str) -> None:
    """`Object of type SharedLock is not JSON serializable` does not help."""
    with pytest.raises(InputError, match="pass its name.*" + re.escape(f"`Cluster().{way}`")):
        encode_call(Call("a:b"), [shared], {})


def test_arguments_that_were_bound_before_come_first() -> None:
    """Also of a partial of a partial."""
    bound = functools.partial(functools.partial(pow, 2), mod=5)

    assert call_of(bound, TASKS) == Call("builtins:pow", (2,), {"mod": 5})
    assert json.loads(encode_call(call_of(bound, TASKS), [3], {})) == [[2, 3], {"mod": 5}]


@pytest.mark.parametrize(
    "function", [lambda: 1, [].append, functools.partial(lambda: 1), object(), "a", "a:b:c", Path.cwd]
)
def test_what_no_other_process_finds_is_refused(function: Any) -> None:
    """With what to do instead."""
    with pytest.raises(TaskError, match="module"):
        call_of(function, TASKS)


@given(st.lists(plain, max_size=20))
def test_items_come_through_as_they_are(items: list[Any]) -> None:
    """A line each, whatever is in them: newlines, surrogates, numbers of any size."""
    lines, error = encode_items(items)

    assert error is None
    assert not any("\n" in line for line in lines)
    assert [decode_item(line, is_call=False) for line in lines] == items
    assert [decode_item(encode_call(Call("a:b"), [item], {}), is_call=True) for item in items] == items


def test_numbers_of_numpy_are_sent_as_numbers() -> None:
    """An array's items too, and arrays themselves, as lists."""
    items = [*numpy.arange(3), numpy.float32(0.5), numpy.bool_(True), [numpy.int8(-1)], numpy.array([[1, 2]])]

    assert encode_items(items) == (["0", "1", "2", "0.5", "true", "[-1]", "[[1,2]]"], None)
    assert encode_call(Call("a:b"), [numpy.int64(7)], {"k": numpy.uint8(1)}) == '[[7],{"k":1}]'


@pytest.mark.parametrize("bad", [{1}, b"bytes", math.nan, object(), numpy.float64("inf"), numpy.datetime64("2026")])
def test_an_item_that_json_cannot_hold_ends_the_lines(bad: object) -> None:
    """What comes before it is encoded all the same."""
    lines, error = encode_items([1, "a", bad, 2])

    assert lines == ["1", '"a"']
    assert isinstance(error, InputError)
    assert "cannot be sent" in str(error)


def test_segments_grow_while_they_come_back_soon_and_shrink_when_they_take_long() -> None:
    """From one item to the largest, or to what the results' weight allows; never to none."""
    sizer = ChunkSizer()
    for _ in range(20):
        sizer.learn(sizer.size, 0.01, 10 * sizer.size)
    assert sizer.size == LARGEST
    for _ in range(20):
        sizer.learn(sizer.size, 5.0, 10 * sizer.size)
    assert sizer.size == 1
    for _ in range(40):
        sizer.learn(sizer.size, 0.01, LARGEST_BYTES // 4 * sizer.size)
    assert sizer.size <= 4


def test_a_segment_holds_no_more_bytes_than_it_should() -> None:
    """But one item, whatever it weighs."""
    assert _fitting([]) == 0
    assert _fitting(["x" * (LARGEST_BYTES + 1), "y"]) == 1
    assert _fitting(["x" * (LARGEST_BYTES // 2)] * 3) == 2


def test_a_failure_can_be_copied_and_sent_on() -> None:
    """As exceptions are when they leave a process."""
    failed = failure("ValueError")

    for copied in (copy.copy(failed), pickle.loads(pickle.dumps(failed))):
        assert vars(copied) == vars(failed)
        assert str(copied) == str(failed)


def test_a_builtin_exception_is_made_anew_where_that_can_be_done() -> None:
    """Others, and those that want more than a text, come as what they are: failures of a task."""
    raised = builtin_of(failure("ZeroDivisionError"))
    assert isinstance(raised, ZeroDivisionError)
    assert isinstance(raised.__cause__, TaskFailed)

    for error in ("UnicodeDecodeError", "MyOwnError", "SystemExit", "print"):
        assert isinstance(builtin_of(failure(error)), TaskFailed)
