"""Values made by chance: what is read is what was written, to the types and to what is the same object."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.values import Codec, Modules
from tests import value_classes as own

CODEC = Codec(Modules({"program": own}))
#: Texts with lone surrogates among them.
texts = st.text(st.characters(), max_size=8)
numbers = st.integers() | st.integers(-(2**70), 2**70) | st.floats() | st.complex_numbers()
moments = st.datetimes(timezones=st.none() | st.timezones()) | st.dates() | st.times() | st.timedeltas()
others = st.decimals(allow_nan=False) | st.fractions() | st.uuids() | st.binary(max_size=20)
members = st.sampled_from([own.Color.RED, own.Rights.READ | own.Rights.WRITE, own.top, own.Plain, int, ..., range(3)])
scalars = st.none() | st.booleans() | numbers | texts | moments | others | members
keys = st.none() | st.booleans() | st.integers() | texts | others | st.tuples(texts, st.integers())


def holders(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    tables = st.dictionaries(keys, inner, max_size=4)
    attributes = st.dictionaries(st.from_regex("[a-z]{1,3}", fullmatch=True), inner, max_size=3)
    return (
        lists
        | lists.map(tuple)
        | tables
        | tables.map(OrderedDict)
        | st.sets(keys, max_size=3)
        | st.frozensets(keys, max_size=3)
        | lists.map(deque)
        | attributes.map(lambda named: own.Plain(**named))
        | lists.map(own.MyList)
        | tables.map(own.MyDict)
        | st.builds(own.Point, inner, inner)
        | st.builds(own.Order, texts, lists)
        | st.builds(own.Slots, inner)
        | st.builds(own.SlotsAndDict, inner)
        | st.builds(own.State, inner)
        | lists.map(lambda found: own.Bare(*found))
        | st.dictionaries(texts, st.integers(), max_size=3).map(Counter)
        | lists.map(lambda found: np.array([len(repr(part)) for part in found]))
    )


values = st.recursive(scalars, holders, max_leaves=20)


def form(value: Any, seen: dict[int, int] | None = None) -> Any:
    """All that can be said of a value: its types, its parts in their order, and which of them are the same object."""
    seen = {} if seen is None else seen
    kind: Any = type(value)
    if kind in (int, bool, str, type(None), bytes) or callable(value) or isinstance(value, own.Color | own.Rights):
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)
    if id(value) in seen and kind is not tuple:
        return "seen", seen[id(value)]
    seen[id(value)] = len(seen)
    return kind, _parts(value, seen)


def _parts(value: Any, seen: dict[int, int]) -> Any:
    if isinstance(value, dict):
        found: Any = [(form(key, seen), form(part, seen)) for key, part in value.items()]
    elif isinstance(value, set | frozenset):
        return sorted(repr(form(part)) for part in value)
    elif isinstance(value, list | tuple | deque):
        found = [form(part, seen) for part in value]
    elif isinstance(value, BaseException):
        found = [form(part, seen) for part in value.args]
    elif isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    elif isinstance(value, own.Slots | own.State):
        return form(value.parts(), {})
    elif isinstance(value, dt.datetime | dt.time):
        return repr(value), value.fold, repr(value.tzinfo)
    else:
        found = [] if hasattr(value, "__dict__") else repr(value)
    return found, [(name, form(part, seen)) for name, part in getattr(value, "__dict__", {}).items()]


@settings(max_examples=400)
@given(values)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    assert form(CODEC.decode(CODEC.encode(value))) == form(value)


@settings(max_examples=200)
@given(values, st.lists(st.integers(0, 4), max_size=6))
def test_what_is_the_same_is_the_same_wherever_it_is(value: Any, shape: list[int]) -> None:
    """One value, put into lists, tuples, dicts and objects that hold each other, some of them twice."""
    made: list[Any] = [value]
    for choice in shape:
        made.append(_PAIRS[choice](made[-1], made[len(made) // 2]))
    assert form(CODEC.decode(CODEC.encode(made))) == form(made)


_PAIRS: list[Callable[[Any, Any], Any]] = [
    lambda one, other: [one, other],
    lambda one, other: (other, one),
    lambda one, other: {"a": one, "b": other},
    lambda one, other: own.Plain(x=one, y=other),
    lambda one, _other: deque([one, one]),
]


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=10), st.data())
def test_graphs_of_objects_keep_their_shape(edges: list[list[int]], data: Any) -> None:
    """With circles of all kinds; where one begins does not matter."""
    kinds = st.sampled_from([list, dict, own.Derived, own.MyList, own.MyDict])
    nodes: list[Any] = [data.draw(kinds)() for _ in edges]
    for node, targets in zip(nodes, edges, strict=True):
        for place, target in enumerate(targets):
            end = nodes[target % len(nodes)]
            held = data.draw(st.sampled_from([end, (end, place), [end], {"in": end}]))
            if isinstance(node, list):
                node.append(held)
            elif isinstance(node, dict):
                node[place] = held
            else:
                setattr(node, f"a{place}", held)
    start = data.draw(st.sampled_from([nodes[0], nodes, (nodes[0],), {"k": nodes[-1]}]))
    assert form(CODEC.decode(CODEC.encode(start))) == form(start)


@settings(max_examples=200)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | texts,
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)))  # fmt: skip
def test_plain_json(value: Any) -> None:
    """The quick way, and what looks as if it could take it."""
    read = CODEC.decode(CODEC.encode(value))
    assert form(read) == form(value)
    if read == value:
        assert CODEC.encode(read) == CODEC.encode(value)


@given(st.floats())
def test_floats_come_bit_for_bit_but_for_what_is_none(number: float) -> None:
    read = CODEC.decode(CODEC.encode([number]))[0]
    assert math.isnan(read) if math.isnan(number) else read.hex() == number.hex()
