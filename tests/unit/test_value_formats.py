"""What functions return, as CSV and as lines of text, read back by readers that are not ours."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.errors import OutputPathError, TaskError
from sheaf.formats import check_holds, format_for


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@given(
    text=st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])),
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_a_csv_row_reads_back(text: str, value: str) -> None:
    """Whatever quotes, commas and line ends are in it: one row, under the row of names."""
    chosen = format_for("o.csv")
    data = chosen.header("o.csv") + chosen.value(7, text, value)

    assert rows(data) == [["index", "item", "value"], ["7", text, value]]


def test_a_csv_field_of_another_type_is_json() -> None:
    """Nothing for None, base64 for bytes."""
    chosen = format_for("o.csv")
    values = [None, True, 1.5, [1, "a"], {"a": None}, b"ab", ""]
    written = [rows(chosen.value(0, "", value))[0][2] for value in values]

    assert written == ["", "true", "1.5", '[1,"a"]', '{"a":null}', "YWI=", ""]


def test_chosen_columns_are_keys_of_the_objects() -> None:
    """A key that is missing leaves the field empty; index and item are there to be chosen, too."""
    chosen = format_for("o.csv", {"columns": ["item", "a", "b"]})

    assert chosen.header("o.csv") == b"item,a,b\n"
    assert chosen.value(3, "three", {"b": "x,y", "c": 1}) == b'three,,"x,y"\n'
    with pytest.raises(TaskError, match=r"item 3 returned a int .*columns \(item, a, b\) are keys"):
        chosen.value(3, "three", 9)


@pytest.mark.parametrize("value", [1j, {1}, "\ud800"], ids=repr)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_a_value_that_has_no_text_is_refused(suffix: str, value: object) -> None:
    """The error names the item."""
    with pytest.raises(TaskError, match="item 3 returned"):
        format_for("o" + suffix).value(3, "three", value)


def test_a_txt_output_holds_one_line_per_value() -> None:
    """Text and bytes as they are, all else as JSON; a line break would make two lines of one record."""
    chosen = format_for("o.txt")
    given_values = ["päge", b"\xff raw", 5, None, {"a": [1]}]

    assert b"".join(chosen.value(0, "", value) for value in given_values) == (
        "päge\n".encode() + b"\xff raw\n5\nnull\n" + json.dumps({"a": [1]}, separators=(",", ":")).encode() + b"\n"
    )
    for value in ("a\nb", "a\r", b"a\n"):
        with pytest.raises(TaskError, match="item 9 returned text with a line break"):
            chosen.value(9, "", value)


def test_a_format_that_cannot_hold_what_is_to_come_is_refused_at_once() -> None:
    """Before anything is submitted, not at every item."""
    for name in ("o.warc.gz", "o.warc", "o.html"):
        with pytest.raises(OutputPathError, match="can hold loaded pages only"):
            check_holds(name, "values")
    with pytest.raises(OutputPathError, match="can hold the values that functions return only"):
        check_holds("o.csv", "pages")
    with pytest.raises(OutputPathError, match="no suffix"):
        check_holds("o.pdf", "values")
    for name in ("o.jsonl", "o.jsonl.gz", "o.txt"):
        check_holds(name, "values")
        check_holds(name, "pages")


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "-", "+"]


@pytest.mark.parametrize("field", FORMULAS)
def test_a_csv_for_spreadsheets_holds_no_formula(field: str) -> None:
    """A foreign item or value is shown, not run; without the option it is unchanged."""
    plain, safe = format_for("v.csv"), format_for("v.csv", {"csv_safe": True})

    rows = list(csv.reader(io.StringIO(safe.value(0, field, {"key": field}).decode(), newline="")))
    assert rows == [["0", f"'{field}", json.dumps({"key": field}, ensure_ascii=False, separators=(",", ":"))]]
    assert list(csv.reader(io.StringIO(plain.value(0, field, field).decode(), newline=""))) == [["0", field, field]]


@pytest.mark.parametrize("value", [-5, -0.25, 1e-300, -1.5e20, "+49", "-7", "a=b", "1-2", "", "'=1"])
def test_a_csv_for_spreadsheets_keeps_numbers_and_all_other_text(value: object) -> None:
    """A negative number is none of what a spreadsheet would run."""
    assert format_for("v.csv", {"csv_safe": True}).value(0, "x", value) == format_for("v.csv").value(0, "x", value)


def test_a_column_can_have_a_formula_for_its_name() -> None:
    """The first row is others' text, too, when the columns are those of the values."""
    chosen = format_for("v.csv", {"csv_safe": True, "columns": ["=HYPERLINK(1)", "b"]})
    assert chosen.header("v.csv") == b"'=HYPERLINK(1),b\n"
