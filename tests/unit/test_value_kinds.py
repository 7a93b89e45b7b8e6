"""Every kind of value that programs send: what is read is what was written, type for type."""

from __future__ import annotations

import argparse
import array
import collections
import datetime as dt
import decimal
import fractions
import functools
import http
import io
import ipaddress
import json
import logging
import math
import operator
import pathlib
import queue
import random
import re
import subprocess
import sys
import time
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sheaf.values import Codec, Modules
from tests import value_classes as own

CODEC = Codec(Modules({"program": own}))


#: The type code of arrays of characters: the older one is deprecated since Python 3.13.
CHARACTERS: Any = "w" if sys.version_info >= (3, 13) else "u"


def round_trip(value: object) -> Any:
    return CODEC.decode(CODEC.encode(value))


def slots_and_more() -> own.MyList:
    made = own.MyList([1, (2,)])
    made.extra = {"a": {3}}
    return made


#: Those that the survey of programs found or tried, and their relatives. Compared by `==` and type.
EQUAL: dict[str, Any] = {
    "none": None,
    "truth": [True, False, 1, 0],
    "text": ["", "a", "ä€😀", "\0", "</x>"],
    "lone surrogate": ["\udcff", {"\udcff": 1}, {"a": ["x\ud800"]}],
    "whole numbers": [0, -1, 2**53 + 1, -(2**63), 2**64 - 1],
    "big integers": [2**64, -(2**63) - 1, 10**400, {2**100: 2**100}],
    "floats": [0.0, 1.0, 1e308, 5e-324, 0.1],
    "infinity": [math.inf, -math.inf, (math.inf, 1)],
    "complex": [1j, complex(math.inf, -0.5)],
    "bytes": [b"", b"\0\xff", b"x" * 100_000],
    "bytearray": bytearray(b"abc"),
    "tuple": [(), (1,), (1, (2, [3]))],
    "list": [[], [[], [[]]], [1, "a", None]],
    "dict": [{}, {"a": {"b": [1]}}, {"a": (1,)}],
    "keys of all kinds": {1: 2, (1, "a"): 3, None: 4, 1.5: 5, b"k": 7, frozenset({1}): 8, own.Color.RED: 9},
    "set": [set(), {1, "a", (2,)}],
    "frozenset": [frozenset(), frozenset({1, frozenset({2})})],
    "date": dt.date(1, 1, 1),
    "datetime": [dt.datetime(2020, 1, 2, 3, 4, 5, 6), dt.datetime.max, dt.datetime.min],
    "datetime with a zone": [
        dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
        dt.datetime(2020, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-3, seconds=5), "here")),
    ],
    "time": [dt.time(1, 2, 3, 4), dt.time(1, tzinfo=dt.UTC)],
    "timedelta": [dt.timedelta(-3, 4, 5), dt.timedelta.max],
    "timezone": [dt.UTC, dt.timezone(dt.timedelta(hours=1))],
    "zoneinfo": zoneinfo.ZoneInfo("Europe/Berlin"),
    "decimal": [decimal.Decimal("1.10"), decimal.Decimal("-1E+999999"), decimal.Decimal("Infinity")],
    "fraction": [fractions.Fraction(1, 3), fractions.Fraction(-(2**200), 7)],
    "uuid": uuid.UUID(int=5),
    "path": [pathlib.Path("/a/b"), pathlib.Path("\udcff")],
    "pure path": [pathlib.PurePosixPath("x"), pathlib.PureWindowsPath("C:\\x")],
    "enum": [own.Color.RED, own.Color.CRIMSON, own.Color.BLUE, own.Level.LOW, own.Word.A],
    "flags": [own.Rights.READ, own.Rights.READ | own.Rights.WRITE, own.Rights(0)],
    "enum of the library": [http.HTTPStatus.OK, re.IGNORECASE, re.I | re.M],
    "named tuple": [own.Point(1, [2]), own.Point({3})],
    "dataclass": own.Order("a", [own.Order("b")]),
    "frozen dataclass": [own.Frozen(1, (2,)), {own.Frozen(1): {own.Frozen(2)}}],
    "dataclass with slots": [own.WithSlots([1]), own.FrozenSlots(1, (2,))],
    "pydantic": own.Model(name="a", tags={"x"}, inner=own.Model(name="b")),
    "counter": collections.Counter("abca"),
    "ordered dict": collections.OrderedDict([(2, 1), (1, 2)]),
    "default dict": collections.defaultdict(list, {1: [2]}),
    "deque": [collections.deque([1, (2,)], maxlen=5), collections.deque()],
    "range": [range(3), range(5, -5, -2), range(2**70)],
    "slice": slice(1, None, -1),
    "pattern": [re.compile("a(b)+", re.I | re.X), re.compile(b"x")],
    "array": [array.array("d", [1.5]), array.array("B", b"abc"), array.array(CHARACTERS, "aä")],
    "namespace": [argparse.Namespace(a=1, b=[2]), types.SimpleNamespace(x={1}), own.MyNamespace(y=1)],
    "own class": [own.Plain(1, b=(2,)), own.Derived(a=own.Derived()), own.Plain.Inner(7)],
    "slots": [own.Slots([1]), own.SlotsAndDict(5)],
    "its own state": own.State((1, 2)),
    "arguments of __new__": [own.NewArgs([1]), own.NewArgsEx(x={2})],
    "its own reduce": own.Called([1]),
    "list and dict of one's own": [own.MyList([1]), own.MyDict({(1,): 2}), own.MyUserDict({"a": 1})],
    "set and tuple of one's own": [own.MySet({1}), own.MyTuple((1, [2]))],
    "text and numbers of one's own": [own.MyStr("x"), own.MyInt(2**70), own.MyBytes(b"q")],
    "collections of one's own": [own.MyCounter("aab"), own.MyDeque([1], 3), own.MyDefault(int, {1: 2})],
    "ordered dict of one's own": own.MyOrdered({2: 1, 1: 2}),
    "path of one's own": own.MyPath("/x"),
    "function": [own.top, own.cached, own.Plain.double, len, math.sin, operator.add],
    "class": [own.Plain, own.Plain.Inner, own.Color, own.Failure, int, dict, collections.OrderedDict, ValueError],
    "method": [own.Plain.made, own.Color.RED.shout, str.upper],
    "ellipsis": [..., NotImplemented],
    "network addresses": [ipaddress.ip_address("1.2.3.4"), ipaddress.ip_network("10.0.0.0/8")],
    "times of the library": time.gmtime(0),
    "numpy scalars": [np.float64(2.5), np.int32(3), np.bool_(True), np.str_("ab"), np.str_("")],
    "numpy dates": [np.datetime64("2020-01-01"), np.timedelta64(5, "ms")],
    "numpy type": [np.dtype("f8"), np.dtype([("a", "<i4"), ("b", "<f8", (2,))])],
    "numpy function": np.sqrt,
}  # fmt: skip


def test_there_are_at_least_thirty_kinds() -> None:
    assert len(EQUAL) >= 30


def of_one_form(one: Any, other: Any) -> bool:
    """The same types, all the way down through what has places."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return all(of_one_form(*pair) for pair in zip(one.items(), other.items(), strict=True))
    if isinstance(one, list | tuple | collections.deque):
        return all(of_one_form(*pair) for pair in zip(one, other, strict=True))
    return True


@pytest.mark.parametrize("name", EQUAL)
def test_what_is_read_is_what_was_written(name: str) -> None:
    value = EQUAL[name]
    for given in (value, (value,), {"in": [value]}, own.Plain(value), {name: [value, value]}):
        read = round_trip(given)
        assert read == given and of_one_form(read, given)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.arange(10)[::-2],
        np.zeros((0, 3)),
        np.array(5),
        np.array(["a", "bcd"]),
        np.array([b"x"]),
        np.array(["2020", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[ns]"),
        np.ones(3, ">f4"),
        np.ones(3, np.float16),
        np.array([1j]),
        np.array([True, False]),
        np.zeros(3, dtype=[("a", "<i4"), ("b", "<f8", (2,)), ("c", [("d", "S3")])]),
        np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    ],
    ids=lambda array: f"{array.dtype.str}-{array.shape}",
)
def test_arrays_keep_type_shape_and_order_and_can_be_written_to(array: Any) -> None:
    """Bit for bit; the copy shares no memory."""
    read = round_trip([array, {"x": array}])
    assert read[0] is read[1]["x"]
    found = read[0]
    assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()
    assert found.flags.writeable and found.flags.f_contiguous == np.array(array, order="A").flags.f_contiguous
    found[...] = array
    assert found.dtype.fields is None or dict(found.dtype.fields) == dict(array.dtype.fields)


def test_nan_is_nan() -> None:
    """Alone, in lists, as a key, in a number of two parts."""
    assert math.isnan(round_trip(math.nan))
    assert [math.isnan(x) for x in round_trip([math.nan, 1.0, math.nan])] == [True, False, True]
    assert math.isnan(next(iter(round_trip({math.nan: 1}))))
    assert math.isnan(round_trip(complex(0, math.nan)).imag)


def test_minus_zero_keeps_its_sign() -> None:
    assert math.copysign(1, round_trip([-0.0])[0]) == -1


def test_a_repeated_hour_keeps_its_fold() -> None:
    moment = dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    read = round_trip(moment)
    assert read == moment and read.fold == 1 and read.utcoffset() == dt.timedelta(hours=1)


def test_a_memoryview_comes_as_bytes() -> None:
    assert round_trip(memoryview(b"abcdef")[::2]) == b"ace"


def test_partials_and_bound_methods_work_as_before() -> None:
    made = own.Plain(1, b=2)
    partial, method, shouted = round_trip(
        [functools.partial(own.top, 1, y=made), made.work, functools.partial(int, base=2)]
    )
    assert partial() == (1, made) and shouted("101") == 5
    assert method(7) == ((1,), 7) and method.__self__ == made
    assert round_trip([1, 2].append).__self__ == [1, 2] and round_trip("a".upper)() == "A"
    assert round_trip(operator.itemgetter(1, 0))("ab") == ("b", "a")


def test_the_librarys_objects_go_on_where_they_were() -> None:
    numbers = random.Random(3)
    numbers.random()
    copy = round_trip(numbers)
    assert [copy.random() for _ in range(5)] == [numbers.random() for _ in range(5)]
    record = logging.LogRecord("n", 10, "p", 1, "%d", (5,), None)
    assert round_trip(record).getMessage() == "5"
    done = round_trip(subprocess.CompletedProcess(["a"], 3, b"x"))
    assert (done.args, done.returncode, done.stdout) == (["a"], 3, b"x")
    buffer = io.BytesIO(b"abc")
    buffer.seek(1)
    assert round_trip(buffer).read() == b"bc"


def test_attributes_of_lists_and_dicts_of_ones_own_come_along() -> None:
    read = round_trip(slots_and_more())
    assert type(read) is own.MyList and read == [1, (2,)] and read.extra == {"a": {3}}


def test_objects_of_generic_and_abstract_classes() -> None:
    """`typing` notes the parameter in the object; that stays behind."""
    assert round_trip(own.Box[int](5)).x == 5
    assert round_trip(own.Square(2)).area() == 4


EXCEPTIONS: dict[str, BaseException] = {
    "plain": ValueError("x", 1),
    "without arguments": KeyError(),
    "one's own": own.Bare([1], {2}),
    "odd __init__": own.Failure(3, reason="r"),
    "odd __init__ of an OSError": own.Refused("/x"),
    "OSError": FileNotFoundError(2, "no", "f", None, "g"),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
    "unicode of one's own": own.Garbled("utf-8", b"\xff", 0, 1, "why"),
    "exit": SystemExit(3),
    "stop": StopIteration(5),
    "import": ImportError("m", name="n", path="p"),
    "syntax": SyntaxError("a", ("f", 1, 2, "t", 1, 2)),
    "json": json.JSONDecodeError("m", "d", 0),
    "queue": queue.Empty(),
    "command": subprocess.CalledProcessError(1, ["x"], b"out"),
    "keyboard": KeyboardInterrupt(),
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_come_with_class_arguments_and_attributes(name: str) -> None:
    """Also those whose `__init__` takes something else, over which pickle breaks the receiver."""
    error = EXCEPTIONS[name]
    read = round_trip(error)
    assert type(read) is type(error) and read.args == error.args and str(read) == str(error)
    assert vars(read) == vars(error)
    for attribute in ("errno", "filename", "filename2", "code", "value", "name", "path", "lineno", "reason", "start"):
        assert getattr(read, attribute, None) == getattr(error, attribute, None)


def raised(action: Callable[[], object]) -> BaseException:
    try:
        action()
    except Exception as error:  # noqa: BLE001  whatever it is
        return error
    raise AssertionError


def test_causes_contexts_and_notes_come_along() -> None:
    def fail() -> None:
        try:
            vars(own)["x"]
        except KeyError as error:
            error.add_note("a note")
            try:
                own.top(1 // 0)
            except ZeroDivisionError as other:
                raise own.Bare("y") from other

    read: Any = round_trip(raised(fail))
    cause, first = read.__cause__, read.__cause__.__context__
    assert type(cause) is ZeroDivisionError and read.__context__ is cause and read.__suppress_context__
    assert first.args == ("x",) and first.__notes__ == ["a note"]


def test_exceptions_in_groups() -> None:
    read = round_trip(ExceptionGroup("g", [ValueError(1), own.Bare(2)]))
    assert [type(error) for error in read.exceptions] == [ValueError, own.Bare] and str(read) == "g (2 sub-exceptions)"
