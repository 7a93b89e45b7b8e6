"""What functions return: numbers of NumPy, NaN and infinity, keys that JSON writes alike; and what is read back."""

import gzip
import json
import math
from typing import Any

import numpy
import pytest

from sheaf.client.session.results import Chunk
from sheaf.core.errors import TaskError
from sheaf.formats import format_for
from sheaf.formats.values import decoded, encode

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (numpy.float32(0.1), "0.10000000149011612"),
        (numpy.float64(0.1), "0.1"),
        (numpy.float16(0.5), "0.5"),
        (numpy.int64(-(2**63)), "-9223372036854775808"),
        (numpy.uint64(2**64 - 1), "18446744073709551615"),
        (numpy.bool_(True), "true"),
        (numpy.str_("é"), '"é"'),
        (numpy.array([[1, 2], [3, 4]], numpy.int8), "[[1,2],[3,4]]"),
        (numpy.array(3), "3"),
        ({"a": numpy.float32(1), "b": (numpy.bool_(False),)}, '{"a":1.0,"b":[false]}'),
        (10**40, "1" + "0" * 40),
        ({"a": [-(2**70), -0.0, 1e22]}, '{"a":[-1180591620717411303424,-0.0,1e+22]}'),
    ],
    ids=str,
)
def test_a_number_of_numpy_is_a_number(value: object, written: str) -> None:
    """In every format, at any depth; with all its digits."""
    assert json.loads(format_for("o.jsonl").value(3, "x", value)) == {
        "index": 3,
        "item": "x",
        "value": json.loads(written),
    }
    assert f'"value":{written}}}'.encode() in format_for("o.jsonl").value(3, "x", value)
    if not isinstance(value, str):
        assert format_for("o.txt").value(3, "x", value).decode() == f"{written}\n"


@pytest.mark.parametrize(
    ("value", "written", "places"),
    [
        (NAN, "NaN", [[]]),
        (-INF, "-Infinity", [[]]),
        (numpy.float32("nan"), "NaN", [[]]),
        ([1, NAN, "NaN"], [1, "NaN", "NaN"], [[1]]),
        ({"a": {"b": [INF]}, "c": "Infinity"}, {"a": {"b": ["Infinity"]}, "c": "Infinity"}, [["a", "b", 0]]),
        ({1: NAN, None: (NAN,)}, {"1": "NaN", "null": ["NaN"]}, [["1"], ["null", 0]]),
        ({"a": numpy.array([1.0, NAN])}, {"a": [1.0, "NaN"]}, [["a", 1]]),
    ],
    ids=str,
)
def test_a_number_that_is_none_is_a_text_that_can_be_told_from_others(value: Any, written: Any, places: Any) -> None:
    """JSON has no NaN: the record says where a text represents one, and a program that reads it gets the number."""
    line = format_for("o.jsonl").value(3, "x", value)
    assert json.loads(line) == {"index": 3, "item": "x", "value": written, "not_finite": places}
    assert gzip.decompress(format_for("o.jsonl.gz").value(3, "x", value)) == line
    ((index, read),) = Chunk([3], line, []).values()
    assert index == 3
    assert repr(read) == repr(decoded(json.loads(encode(value)[0]), places)) != repr(written)


def test_bare_fields_and_lines_hold_them_without_quotation_marks() -> None:
    """In .csv and .txt; inside a list they are texts of JSON."""
    values = [NAN, INF, numpy.float32("-inf"), [NAN]]
    assert (
        b"".join(format_for("o.txt").value(0, "x", value) for value in values) == b'NaN\nInfinity\n-Infinity\n["NaN"]\n'
    )
    assert b"".join(format_for("o.csv").value(0, "x", value) for value in values) == (
        b'0,x,NaN\n0,x,Infinity\n0,x,-Infinity\n0,x,"[""NaN""]"\n'
    )
    spread = format_for("o.csv", {"columns": ["a", "b"]})
    assert spread.value(0, "x", {"a": numpy.int64(5), "b": numpy.float64("nan")}) == b"5,NaN\n"


def test_a_chunk_with_and_without_them_is_read_right() -> None:
    """Only the records that say so are looked at."""
    form = format_for("o.jsonl")
    lines = [
        form.value(0, "x", '"not_finite":'),
        form.value(1, "x", "NaN"),
        form.value(2, "x", [NAN]),
        form.value(3, "x", b"\xff"),
    ]
    read = dict(Chunk([0, 1, 2, 3], b"".join(lines), []).values())
    assert (read[0], read[1], read[3]) == ('"not_finite":', "NaN", b"\xff")
    assert math.isnan(read[2][0])


@pytest.mark.parametrize(
    "value",
    [{1: "d", "1": "b"}, [{"a": {True: 1, "true": 2}}], {"x": ({None: 1, "null": 2},)}, {1.0: 1, "1.0": 2}],
    ids=str,
)
def test_keys_that_json_writes_alike_are_refused(value: object) -> None:
    """Of two such keys every reader keeps one, in silence."""
    for name in ("o.jsonl", "o.csv", "o.txt"):
        with pytest.raises(TaskError, match=r"item 3 returned .*are written alike"):
            format_for(name).value(3, "x", value)


@pytest.mark.parametrize("value", [{1: 1, 2: 2}, {"a": 1, 1: 2}, {None: 1, True: 2}], ids=str)
def test_keys_that_are_no_texts_become_texts(value: dict[Any, Any]) -> None:
    """As Python's json writes them."""
    assert json.loads(format_for("o.jsonl").value(3, "x", value))["value"] == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "value",
    [numpy.datetime64("2026-01-01"), numpy.complex64(1), numpy.array([object()])],
    ids=lambda value: str(value.dtype),
)
def test_what_numpy_has_and_json_has_not_is_refused(value: object) -> None:
    """Moments, complex numbers, objects: the item fails, with the name of the type."""
    with pytest.raises(TaskError, match=r"item 3 returned a .* that JSON cannot hold: Object of type"):
        format_for("o.jsonl").value(3, "x", value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """Also where NaN makes it be looked at part by part."""
    value: list[Any] = [NAN]
    value.append(value)
    with pytest.raises(TaskError, match="item 3 returned a list"):
        format_for("o.jsonl").value(3, "x", value)
