"""Parts of `sheaf.multiprocessing` that need no Redis: keys of dicts, types of memory, patience, references."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.errors import RedisUnavailable, ValueUnreadable
from sheaf.multiprocessing import steps
from sheaf.multiprocessing.closing import Closing
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects.base import SharedObject, checked_name
from sheaf.multiprocessing.objects.ctypes_names import TYPECODES, described, of_description, type_for
from sheaf.multiprocessing.objects.dict_keys import field_of, is_reversible, key_of
from sheaf.multiprocessing.objects.references import KINDS, references
from sheaf.multiprocessing.steps import patiently

_ATOMS = st.one_of(
    st.text(), st.binary(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False), st.fractions()
)
KEYS = st.recursive(_ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)


def field(key: Any) -> bytes:
    return field_of(key, lambda value: repr(value).encode())


@given(KEYS, KEYS)
def test_keys_are_one_key_if_they_are_equal(one: Any, other: Any) -> None:
    """And only then; so a shared dict has the same keys as Python's."""
    assert (field(one) == field(other)) == (one == other)


@given(st.one_of(st.text(), st.integers(), st.binary(), st.none()))
def test_plain_keys_are_read_back(key: Any) -> None:
    assert is_reversible(key)
    assert (key_of(field(key)), type(key_of(field(key)))) == (key, type(key))


def test_equal_keys_of_other_types_are_one_key() -> None:
    assert len({field(key) for key in (1, 1.0, True, complex(1), Decimal(1))}) == 1
    assert field(0.5) == field(Fraction(1, 2)) == field(Decimal("0.5"))
    assert field(math.inf) == field(Decimal("inf")) != field(-math.inf)
    assert not is_reversible(True)
    assert key_of(field("\udc80")) == "\udc80"
    with pytest.raises(TypeError):
        field(([],))


def test_types_of_memory_go_there_and_back() -> None:
    kinds = [*TYPECODES.values(), ctypes.c_bool, ctypes.c_int * 3, ctypes.c_double * 2 * 2]
    for kind in kinds:
        assert of_description(described(kind)) is kind
    for wrong in ("z", "P", ["i"], ["i", -1], [["i"], 2], ["i", 2**62], dict, 5, None):
        with pytest.raises(ValueUnreadable):
            of_description(wrong)


def test_addresses_cannot_be_shared() -> None:
    class Node(ctypes.Structure):
        _fields_ = (("next", ctypes.c_void_p),)

    for kind in (ctypes.c_void_p, ctypes.c_char_p, Node, ctypes.c_void_p * 2, ctypes.POINTER(ctypes.c_int)):
        with pytest.raises(TypeError, match=r"another process|cannot be shared"):
            type_for(kind)


@pytest.mark.parametrize("wrong", [None, [], ["x"], ["0" * 16, 1], ["0" * 15 + "/"], ["0" * 15], "0" * 16, [b"0" * 16]])
def test_what_came_is_no_reference(wrong: Any) -> None:
    """A name from elsewhere becomes part of a key in Redis only if it has the form of one."""
    with pytest.raises(ValueUnreadable):
        checked_name(wrong)
    assert checked_name(["0123456789abcdef"]) == "0123456789abcdef"


_NAMES = st.just("0123456789abcdef") | st.text(max_size=3)
_PARTS = st.recursive(
    _NAMES | st.integers() | st.none() | st.floats() | st.booleans() | st.sampled_from(["i", "c", "d"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(described=st.lists(_PARTS, max_size=4).map(lambda parts: ["0123456789abcdef", *parts]) | _PARTS)
def test_whatever_came_is_a_reference_or_an_error_that_says_so(kind: type[SharedObject], described: Any) -> None:
    with contextlib.closing(redis.Redis(port=1)) as nowhere:
        member = Member(nowhere, "program")
        steps_taken: list[Any] = []
        member.steps = lambda *step: steps_taken.append(step)  # type: ignore[assignment]
        member.closing.start = lambda: None  # type: ignore[method-assign]
        (reference,) = (one for one in references(member) if one.kind is kind)
        try:
            rebuilt = reference.rebuild(described)
        except ValueUnreadable:
            return
        assert type(rebuilt) is kind
        assert rebuilt._key == "sheaf:mp:program:o:0123456789abcdef"
        for step in steps_taken:
            assert all(name.startswith(rebuilt._key) for name in step[1])
        vars(rebuilt)["_closed"] = True


def test_every_kind_has_a_word_of_its_own() -> None:
    assert len({kind.tag for kind in KINDS}) == len(KINDS)


def test_redis_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RedisUnavailable("away"), RedisUnavailable("away")])

    def act() -> str:
        for failure in failures:
            raise failure
        return "done"

    assert patiently(act) == "done"
    monkeypatch.setattr(steps, "PATIENCE_S", 0.2)
    started = time.monotonic()
    failures = (RedisUnavailable("away") for _ in range(1000))
    with pytest.raises(RedisUnavailable, match=r"away \(waited 0.2 s"):
        patiently(act)
    assert time.monotonic() - started < 5


def test_what_is_to_be_closed_is_closed_before_the_end() -> None:
    closing = Closing()
    closed: list[int] = []
    closing.start()
    for number in range(3):
        closing.later(functools.partial(closed.append, number))
    closing.close()
    assert closed == [0, 1, 2]
