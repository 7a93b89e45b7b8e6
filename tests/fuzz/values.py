"""What programs send each other: messages as they come out of Redis, and their parts, put together in form."""

from __future__ import annotations

import array
import contextlib
import datetime as dt
import re
from collections import Counter, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pyarrow as pa

from sheaf.core.errors import ValueNotSendable, ValueUnreadable
from sheaf.values import Codec, Limits, Modules, container
from sheaf.values.kinds import KINDS
from tests import value_classes as own
from tests.fuzz.target import target

_CODEC = Codec(Modules({"program": own}), limits=Limits(message_bytes=1 << 20, hashed_parts=100_000))
_BETWEEN = b"\n----\n"


def _circle() -> Any:
    root = own.Node("a").add(own.Node("b"))
    root.friends = {root}
    pair: tuple[Any, ...] = ([], {"x": root})
    pair[0].append(pair)
    return pair


_VALUES: tuple[Any, ...] = (
    {"plain": [1, 2.5, None, True, "x"]},
    (1, "a", {2: (3,)}, {4}, frozenset({5}), [2**70, float("nan"), 1j, "\udcff"]),
    [b"x", bytearray(b"y"), array.array("d", [1.5]), range(3), slice(1), ..., re.compile("a+", re.I)],
    [dt.date(2020, 1, 2), dt.datetime(2020, 1, 2, tzinfo=dt.UTC), dt.time(1), dt.timedelta(1), ZoneInfo("UTC")],
    [Decimal("1.5"), Fraction(1, 3), UUID(int=5), Path("/x"), own.Color.RED, own.Rights.READ | own.Rights.WRITE],
    [Counter("ab"), defaultdict(list, {1: [2]}), deque([1], 3), partial(own.top, 1, y=2), own.Plain(1).work, str.upper],
    [
        own.Plain(1, b=(2,)),
        own.Slots(1),
        own.State(2),
        own.NewArgsEx(x=1),
        own.Called(3),
        own.MyList([1]),
        own.Point(1),
    ],
    [own.MyDict({1: 2}), own.MySet({1}), own.Frozen(1), own.FrozenSlots(2), own.Model(name="x"), own.Named("n")],
    [own.Failure(3, reason="r"), OSError(2, "no", "f"), ImportError("m", name="n"), ExceptionGroup("g", [own.Bare(1)])],
    [np.arange(6).reshape(2, 3), np.zeros(2, [("a", "<i4"), ("b", "<f8", (2,))]), np.float64(1), np.dtype("U3")],
    pa.table({"a": [1, None], "b": ["x", "y"]}),
    _circle(),
)


def _split(message: bytes) -> bytes:
    """The JSON of a message, and its frames."""
    found = container.unpack(message, Limits())
    return _BETWEEN.join([orjson.dumps(found.json), *(bytes(frame) for frame in found.frames)])


_TAGS = tuple(b'"%s"' % tag.encode() for tag in sorted(KINDS))
_WORDS = (b'"own"', b'"library"', b'"program"', b'"builtins"', b'"Plain"', b'"eval"', b"[0]", b"[1]", b"[[]]", b"[{}]",
          b"null", b"-1", b"1e400", b'"__class__"', b'"call"', b'"new"', b'"../x"', _BETWEEN)  # fmt: skip


def _check(message: bytes) -> None:
    """A value, or ValueUnreadable; nothing was done to anybody."""
    own.CALLS.clear()
    try:
        found = _CODEC.decode(message)
    except ValueUnreadable as error:
        assert len(str(error)) < 2000
        return
    finally:
        # (`Watchful` notes a call; a program's own class that asks for calls is another matter.)
        assert not own.CALLS
    # Objects of forged parts may break when their own class is asked to take them apart; nothing else may.
    with contextlib.suppress(ValueNotSendable, ValueUnreadable):
        _CODEC.decode(_CODEC.encode(found))


@target(*map(_CODEC.encode, _VALUES), tokens=(b"SV1J", b"SV1T", b"\0" * 8, b"\xff" * 8))
def value_message(data: bytes) -> None:
    """Any bytes."""
    _check(data)


@target(*(_split(_CODEC.encode(value)) for value in _VALUES[1:]), tokens=_TAGS + _WORDS)
def value_nodes(data: bytes) -> None:
    """JSON and frames whose lengths are right, so that what they say is looked at."""
    text, *frames = data.split(_BETWEEN)
    _check(b"".join(container.pack(text, [memoryview(frame) for frame in frames])))
