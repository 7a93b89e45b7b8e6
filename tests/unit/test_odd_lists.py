"""Lists that are not quite lists: a table of what is in a file, which items that are, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import pytest

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf_producer.inputs import Inputs, csv_rows, lines
from sheaf_producer.inputs.stream import BLOCK_BYTES


class Odd(NamedTuple):
    content: bytes
    #: The items; of a table, as Python values.
    items: list[Any]
    #: Of each line that is rejected: its number, how many lines it covers, and words of the reason.
    rejected: list[tuple[int, int, str]]


def read(path: Path, **options: Any) -> tuple[list[str], list[Line]]:
    inputs = Inputs([str(path)], **options)
    inputs.check()
    rejected: list[Line] = []
    return [text for texts in inputs.read(rejected.append) for text in texts], rejected


def check(found: tuple[list[Any], list[Line]], wanted: Odd) -> None:
    items, rejected = found
    assert items == wanted.items
    assert [(line.number, line.lines) for line in rejected] == [(number, count) for number, count, _ in wanted.rejected]
    for line, (_, _, words) in zip(rejected, wanted.rejected, strict=True):
        assert words in (line.problem or "")


LINES = {
    "CR": Odd(b"one\rtwo\rthree\r", ["one", "two", "three"], []),
    "CR without a last one": Odd(b"one\rtwo", ["one", "two"], []),
    "CRLF": Odd(b"one\r\ntwo\r\n", ["one", "two"], []),
    "all of them": Odd(b"one\r\ntwo\rthree\nfour\n\rfive\r\r\n", ["one", "two", "three", "four", "five"], []),
    "a number behind CRs": Odd(b"one\rtwo\r\ncaf\xe9\nfour", ["one", "two", "four"], [(3, 1, "0xe9")]),
    "what ends no line": Odd(
        "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\th".encode(), ["a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\th"], []
    ),
    "blanks beyond ASCII": Odd("\u00a0\n\u3000\n a \n\x1c\n".encode(), [" a "], []),
    "the same beside a bad line": Odd("\u00a0\n\u3000\n a \n\0\n".encode(), [" a "], [(4, 1, "zero byte")]),
    "two byte order marks": Odd("\ufeffone\n\ufefftwo\n".encode(), ["one", "\ufefftwo"], []),
    "UTF-16 without a mark": Odd("ab\n".encode("utf-16-le"), [], [(1, 1, "UTF-16"), (2, 1, "zero byte")]),
    "escapes": Odd(b"\x1b[2J\x07\x7f\n", ["\x1b[2J\x07\x7f"], []),
    "nothing": Odd(b"", [], []),
    "blanks": Odd(b"\n\r\r\n \t\n", [], []),
}
JSON = {
    "CR": Odd(b'{"a":1}\r{"a":2}\r\n3', ['{"a":1}', '{"a":2}', "3"], []),
    "CR in an object": Odd(b'{"a":\r1}', [], [(1, 1, "not JSON"), (2, 1, "not JSON")]),
    "a text with a control": Odd(b'"a\tb"\n"a\\tb"', ['"a\\tb"'], [(1, 1, "control character")]),
    "several values": Odd(b'{"a":1}{"b":2}\n1 2\n[1],', [], [(n, 1, "Extra data") for n in (1, 2, 3)]),
    "a key twice": Odd(b'{"a":1,"a":2}', ['{"a":1,"a":2}'], []),
    "no number": Odd(b"NaN\n-Infinity\n[nan]\n+1\n01\n1.\n", [], [(n, 1, "JSON") for n in range(1, 7)]),
    "numbers beyond floats": Odd(b"1e400\n[-1e999]\n1e-400", ["1e400", "[-1e999]", "1e-400"], []),
    "whole numbers": Odd(b"123456789012345678901234567890\n-0\n", ["123456789012345678901234567890", "-0"], []),
    "halves of pairs": Odd(b'"\\ud800"\n{"\\udfff":1}', ['"\\ud800"', '{"\\udfff":1}'], []),
    "halves as bytes": Odd(b'"\xed\xa0\x80"', [], [(1, 1, "not UTF-8")]),
    "a mark in the middle": Odd('1\n\ufeff{"a":1}'.encode(), ["1"], [(2, 1, "byte order mark")]),
    "single quotes": Odd(b"{'a':1}\nTrue\nNone", [], [(n, 1, "not JSON") for n in (1, 2, 3)]),
    "deep": Odd(b"[" * 100_000 + b"\n1", ["1"], [(1, 1, "too deeply")]),
    "blanks": Odd("\u00a0\n 1 \n\n".encode(), [" 1 "], []),
}
CSV = {
    "CR": Odd(b"a,b\r1,2\r3,4\r", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}], []),
    "CRLF in a field": Odd(b'a\r\n"1\r\n2"\r\n', [{"a": "1\r\n2"}], []),
    "CR in a field": Odd(b'a,b\n"1\r2",3\n', [{"a": "1\r2", "b": "3"}], []),
    "never closed": Odd(
        b'a,b\n1,x\n2,"six inch\n3,y\n4,z\n', [{"a": "1", "b": "x"}], [(3, 3, "opened here that is never closed")]
    ),
    "never closed, in the last line": Odd(b'a,b\n1,"x', [], [(2, 1, "never closed; close it")]),
    "never closed, in a later line of its row": Odd(
        b'a,b,c\n1,"x\ny","z\n2,3,4\n',
        [],
        [(2, 3, "opened in line 3 that is never closed, so that lines 2 to 4 (3 of")],
    ),
    "closed by another's": Odd(
        b'a,b\n1,x\n2,"b\n3,c\n4,"d\n5,e\n',
        [{"a": "1", "b": "x"}, {"a": "5", "b": "e"}],
        [(3, 3, "opened here is closed in line 5 before 'd")],
    ),
    "closed too early": Odd(b'a,b\n1,"x"y\n2,z\n', [{"a": "2", "b": "z"}], [(2, 1, "twice")]),
    "doubled marks, never closed": Odd(b'a,b\n1,"x""y\n2,z\n', [], [(2, 2, "never closed")]),
    "a mark in the middle": Odd(b'a,b\n6" nail,1\n', [{"a": '6" nail', "b": "1"}], []),
    "ragged": Odd(
        b"a,b\n1\n2,3,4\n5,6\n\n7,\n", [{"a": "5", "b": "6"}, {"a": "7", "b": ""}], [(2, 1, "1 fields"), (3, 1, "3 f")]
    ),
    "ragged, of several lines": Odd(b'a,b\n"1\n\n"\n5,6\n', [{"a": "5", "b": "6"}], [(2, 3, "1 fields")]),
    "not UTF-8": Odd(b"a,b\ncaf\xe9,1\n2,3\n", [{"a": "2", "b": "3"}], [(2, 1, "not UTF-8")]),
    "a zero byte": Odd(b"a,b\nx\0y,1\n", [{"a": "x\0y", "b": "1"}], []),
    "blanks around": Odd(b' a , b \n 1 ,"2"\n', [{"a": " 1 ", "b": "2"}], []),
    "a mark and blank lines": Odd("\ufeff\r\n\r\na\r\n1\r\n".encode(), [{"a": "1"}], []),
    "names only": Odd(b"a,b\n", [], []),
    "nothing": Odd(b"", [], []),
}


@pytest.mark.parametrize("odd", LINES.values(), ids=LINES)
@pytest.mark.parametrize("block_bytes", [3, 4, 5, BLOCK_BYTES])
def test_odd_lines(tmp_path: Path, odd: Odd, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line ends with LF, CR LF or CR, wherever a block ends, and with nothing else."""
    monkeypatch.setattr("sheaf_producer.inputs.stream.BLOCK_BYTES", block_bytes)
    path = tmp_path / "list"
    path.write_bytes(odd.content)

    check(read(path), odd)


@pytest.mark.parametrize("odd", JSON.values(), ids=JSON)
def test_odd_json_lines(tmp_path: Path, odd: Odd) -> None:
    """What JSON allows is an item, as it was written; what it does not is rejected with its number."""
    path = tmp_path / "list.jsonl"
    path.write_bytes(odd.content)

    check(read(path), odd)


@pytest.mark.parametrize("odd", CSV.values(), ids=CSV)
@pytest.mark.parametrize("block_bytes", [3, 4, 7, BLOCK_BYTES])
def test_odd_tables(tmp_path: Path, odd: Odd, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad row has its first line's number; one that took others along says which, and why."""
    monkeypatch.setattr("sheaf_producer.inputs.stream.BLOCK_BYTES", block_bytes)
    path = tmp_path / "list.csv"
    path.write_bytes(odd.content)

    items, rejected = read(path)
    check(([json.loads(item) for item in items], rejected), odd)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'"id" x,name\n1,a\n2,b\n', "names the columns, cannot be read (line 1: the quotation mark"),
        (
            b'id,"name\n1,a\n2,b\n',
            "(line 1: a quotation mark is opened here that is never closed, so that lines 1 to 3",
        ),
        (b"\n\n" + b"x" * 3000 + b"\na,b\n1,2\n", "cannot be read (line 3: a field is larger than 2,000 bytes"),
        (b"na\xefve,b\n1,2\n", "not UTF-8 text; is the file in another encoding? iconv"),
        ("a,b\n1,2\n".encode("utf-16-le"), "not UTF-8 text"),
        (b"a,a\n1,2\n", "does not name each column once: 'a', 'a'"),
        (b"a, \n1,2\n", "does not name each column once"),
        (b"a;b\n1;2\n", "separated by ';'; give --delimiter ';' (or --delimiter ,"),
        (b"a\tb\n1\t2\n", "separated by tab; give --delimiter tab"),
        (b"sep=;\na;b\n1;2\n", "give --delimiter ';', after its first line 'sep=;'"),
    ],
)
def test_a_table_whose_first_row_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of data ever takes its place."""
    monkeypatch.setattr(csv_rows, "ITEM_LIMIT_BYTES", 2000)
    path = tmp_path / "list.csv"
    path.write_bytes(content)

    with pytest.raises(InputError) as refused:
        read(path)
    assert words in str(refused.value)


def test_another_delimiter_is_given_by_name(tmp_path: Path) -> None:
    """A comma, too, for a single column with a semicolon in its name."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"a;b\n1;2,5\n")

    assert [json.loads(item) for item in read(path, delimiter=";")[0]] == [{"a": "1", "b": "2,5"}]
    assert read(path, delimiter=",")[1][0].number == 2
    with pytest.raises(InputError, match="no columns, so --delimiter cannot be used"):
        read(path, delimiter=";", format="jsonl")


def test_a_line_that_is_too_long_is_no_part_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between rows it is left out; in the midst of a field, it is not known where the next row begins."""
    monkeypatch.setattr(csv_rows, "ITEM_LIMIT_BYTES", 2 * BLOCK_BYTES)
    long = b"x" * (3 * BLOCK_BYTES)
    path = tmp_path / "list.csv"
    path.write_bytes(b"a,b\n1,2\n" + long + b'\n3,4\n5,"6\n' + long + b'\n7",8\n9,10\n')

    items, rejected = read(path)

    assert [json.loads(item)["a"] for item in items] == ["1", "3"]
    assert [(line.number, line.lines) for line in rejected] == [(3, 1), (6, 1), (5, 4)]
    assert "bytes long" in (rejected[1].problem or "")
    assert "opened here that is never closed" in (rejected[2].problem or "")


def test_a_field_without_an_end_ends_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the next row begins is not known; the lines lost to it are counted, and not kept."""
    monkeypatch.setattr(csv_rows, "ITEM_LIMIT_BYTES", 1000)
    monkeypatch.setattr(lines, "ITEM_LIMIT_BYTES", 1000)
    path = tmp_path / "list.csv"
    path.write_bytes(b"a,b\n" + b"x" * 1001 + b',1\n"' + b"y" * 1001 + b'",1\n1,2\n3,"4\n' + b"5,6\n" * 500_000)

    items, rejected = read(path)

    assert [json.loads(item)["a"] for item in items] == ["1"]
    assert [(line.number, line.lines) for line in rejected] == [(2, 1), (3, 1), (5, 500_001)]
    assert "so that lines 5 to 500005 (500,001 of them) are one row" in (rejected[2].problem or "")


def test_no_item_holds_what_ends_a_line(tmp_path: Path) -> None:
    """A column's text, or a file's name: as an item it would be two when it is read from a list again."""
    (tmp_path / "list.csv").write_bytes(b'a,b\n1,"x\ry"\n2,z\n')
    pyarrow.parquet.write_table(pyarrow.table({"b": ["x\ry", "z"]}), tmp_path / "list.parquet")
    for name in ("list.csv", "list.parquet"):
        items, rejected = read(tmp_path / name, column="b")
        assert items == ["z"] and "line break" in (rejected[0].problem or "")
    (tmp_path / "a\rb.jpg").touch()
    (tmp_path / "c.jpg").touch()
    inputs = Inputs([f"{tmp_path}/*.jpg"], files=True)
    assert [Path(path).name for paths in inputs.read(lambda _: None) for path in paths] == ["c.jpg"]
