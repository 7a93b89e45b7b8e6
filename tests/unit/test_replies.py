"""What Redis answers is made into texts and numbers: odd ones are shown or count as the default."""

from __future__ import annotations

import pytest

from sheaf.broker import replies


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"plain", "plain"),
        ("plain", "plain"),
        ("ä 漢".encode(), "ä 漢"),
        (b"half \xff of", "half \\xff of"),
        (None, ""),
        (7, ""),
        ([b"a"], ""),
        (b"x" * 30_000, "x" * 20_000),
    ],
)
def test_a_text_is_shown_whatever_its_bytes(value: object, shown: str) -> None:
    """No more of it than a person reads."""
    assert replies.text(value) == shown


@pytest.mark.parametrize(
    ("value", "whole", "exact"),
    [
        (b"12", 12, 12.0),
        ("-3", -3, -3.0),
        (b"2.75", 3, 2.75),
        (2**53, 2**53, 2.0**53),
        (b"-9007199254740992", -(2**53), -(2.0**53)),
    ],
)
def test_a_number_is_what_it_says(value: object, whole: int, exact: float) -> None:
    """As a whole one, it is rounded."""
    assert (replies.number(value), replies.amount(value)) == (whole, exact)


@pytest.mark.parametrize(
    "value", [None, b"", "many", b"\xff", b"0x7", [], {}, b"nan", b"inf", b"-inf", b"1e300", b"-1e17", 10**400, 2**54]
)
def test_what_is_no_number_counts_as_the_default(value: object) -> None:
    """Nor is one that is larger than anything that is counted: it would break code that adds to it."""
    assert (replies.number(value), replies.number(value, 5)) == (0, 5)
    assert (replies.amount(value), replies.amount(value, 0.5)) == (0.0, 0.5)


def test_fields_are_those_of_a_hash() -> None:
    """Of anything else there are none."""
    assert replies.fields({b"label": b"w \xfe", b"\xff": None}) == {"label": "w \\xfe", "\\xff": ""}
    for odd in (None, [], [b"label", b"w"], b"label", 3):
        assert replies.fields(odd) == {}


def test_an_object_is_made_of_json_that_quotes_anything() -> None:
    """What a script of ours has made; of another value, or another kind of JSON, nothing is taken."""
    assert replies.json_object(b'{"batches": [["r_1", 1]], "foreign": ["\xff"]}') == {
        "batches": [["r_1", 1]],
        "foreign": ["\ufffd"],
    }
    others: tuple[object, ...] = (None, [], '{"a": 1}', b"[]", b"null", b"7")
    for odd in others:
        assert replies.json_object(odd) == {}
