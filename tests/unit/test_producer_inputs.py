"""Inputs of `sheaf map`: every kind of file becomes items; what cannot be used is rejected with its number."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from sheaf.core.errors import InputError, UsageError
from sheaf.submission.tally import Line
from sheaf_producer.inputs import Inputs, lines
from sheaf_producer.inputs.numbers import numbers_of
from sheaf_producer.inputs.stream import BLOCK_BYTES
from tests.packing import zstd


def read(*names: Path | str, **options: object) -> tuple[list[str], list[Line]]:
    """The items, and the lines that were rejected."""
    inputs = Inputs([str(name) for name in names], **options)  # type: ignore[arg-type]
    inputs.check()
    rejected: list[Line] = []
    return [text for texts in inputs.read(rejected.append) for text in texts], rejected


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress], ids=["plain", "gz", "zst"])
def test_lines_are_items_as_they_are(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Blanks around a line and a `#` belong to it, unlike in a list of URLs; blank lines are left out."""
    path = write(tmp_path / "list", pack("\ufeff  one \r\n\n# two\n \t\nthr\u2028ee".encode()))

    assert read(path) == (["  one ", "# two", "thr\u2028ee"], [])
    assert Inputs([str(path)]).passing == "text"


def test_a_line_that_is_no_text_costs_only_itself(tmp_path: Path) -> None:
    """Another encoding, a zero byte: rejected with the line's number; the others are read."""
    items, rejected = read(write(tmp_path / "list", b"one\ncaf\xe9\na\0b\n\nfive\n"))

    assert items == ["one", "five"]
    assert [(line.number, line.source) for line in rejected] == [
        (2, str(tmp_path / "list")),
        (3, str(tmp_path / "list")),
    ]
    assert "not UTF-8" in (rejected[0].problem or "")


def test_an_item_that_is_too_large_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, wherever blocks end: the items around it are read, and it fills no memory."""
    limit = BLOCK_BYTES + 1000
    monkeypatch.setattr(lines, "ITEM_LIMIT_BYTES", limit)
    for size in (limit - 1, limit, 3 * BLOCK_BYTES, 5 * BLOCK_BYTES + 7):
        for end in (b"\nlast\n", b""):
            items, rejected = read(write(tmp_path / "list", b"first\n" + b"x" * size + end))

            assert [line.number for line in rejected] == ([2] if size + bool(end) > limit else [])
            assert all(f"{size + bool(end):,} bytes long" in (line.problem or "") for line in rejected)
            assert items == ["first", *["x" * size] * (not rejected), *["last"] * bool(end)]


def test_json_lines_are_checked_one_by_one(tmp_path: Path) -> None:
    """What is not JSON, and NaN, which is none, is rejected; escapes of any kind come through."""
    good = ['{"a": 1}', "[1, 2]", '"\\ud800"', "null", "1e3"]
    bad = ['{"a": NaN}', "Infinity", "{", "1,2", "[" * 100_000, "1" * 5000]
    items, rejected = read(write(tmp_path / "list.jsonl", "\n".join([*good, *bad, "", " 7 "])))

    assert items == [*good, " 7 "]
    assert [line.number for line in rejected] == [6, 7, 8, 9, 10, 11]
    assert ["NaN" in (line.problem or "") for line in rejected] == [True] + [False] * 5
    assert Inputs([str(tmp_path / "list.jsonl")]).passing == "json"


def test_csv_rows_are_objects(tmp_path: Path) -> None:
    """By the names in the first row; quotes, line breaks in a field and a byte order mark are understood."""
    path = write(tmp_path / "x.csv", '\ufeffname, town\r\n"Ann ""A""",Köln\r\n\r\nBo,"two\nlines"\r\n')

    items, rejected = read(path)

    assert [json.loads(item) for item in items] == [
        {"name": 'Ann "A"', "town": "Köln"},
        {"name": "Bo", "town": "two\nlines"},
    ]
    assert rejected == []
    assert Inputs([str(path)]).passing == "json"
    assert read(write(tmp_path / "x.tsv", "a\tb\n1\t2\n"))[0] == ['{"a":"1","b":"2"}']


def test_a_column_of_a_csv_file_is_text(tmp_path: Path) -> None:
    """A row without it, one with a line break in it, and one that is not UTF-8 are rejected with their numbers."""
    path = write(tmp_path / "x.csv", b'a,b\n1,one\n2\n3,"li\nne"\n4,caf\xe9\n5,five\n6,"no end\n')

    items, rejected = read(path, column="b")

    assert items == ["one", "five"]
    assert [line.number for line in rejected] == [3, 4, 6, 8]
    assert "has 1 fields" in (rejected[0].problem or "")
    assert "quotation mark" in (rejected[3].problem or "")
    assert Inputs([str(path)], column="b").passing == "text"
    with pytest.raises(InputError, match="no column 'c'; its columns are 'a', 'b'"):
        read(path, column="c")


@pytest.mark.parametrize("header", ["a,a", "a,", ""])
def test_a_csv_file_without_names_is_refused(tmp_path: Path, header: str) -> None:
    """Rather than taking the first row's values for names."""
    path = write(tmp_path / "x.csv", f"{header}\n1,2\n")
    if header:
        with pytest.raises(InputError, match="does not name each column once"):
            read(path)
    else:
        assert read(path) == ([], [])  # the first row that is not blank holds the names


def test_parquet_rows_are_objects(tmp_path: Path) -> None:
    """Moments, decimals and bytes have a JSON form; NaN is written as Python's json reads it."""
    path = tmp_path / "x.parquet"
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    table = {
        "n": [1, 2, 3],
        "x": [0.5, float("nan"), None],
        "t": [when] * 3,
        "d": [Decimal("1.10")] * 3,
        "b": [b"ab"] * 3,
    }
    pyarrow.parquet.write_table(pyarrow.table({**table, "s": ["a", "b\nb", None]}), path, row_group_size=2)

    items, rejected = read(path)

    assert [json.loads(item)["n"] for item in items] == [1, 2, 3]
    assert str(json.loads(items[1])["x"]) == "nan"
    assert json.loads(items[0]) == {"n": 1, "x": 0.5, "t": "2026-01-02T03:04:05", "d": "1.10", "b": "YWI=", "s": "a"}
    assert rejected == []
    assert read(path, column="x")[0] == ["0.5", "NaN", "null"]
    assert read(path, column="s")[0] == ["a"]
    assert [line.number for line in read(path, column="s")[1]] == [2, 3]
    assert read(path, column="n")[0] == ["1", "2", "3"]
    assert [Inputs([str(path)], column=name).passing for name in "sn"] == ["text", "json"]
    assert Inputs([str(path.rename(tmp_path / "known-by-content"))]).passing == "json"


def test_parquet_that_is_damaged_or_piped_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is Parquet without pyarrow, with the name of what to install."""
    path = write(tmp_path / "x.parquet", b"PAR1 and no more")
    with pytest.raises(InputError, match="damaged or truncated"):
        read(path)
    with pytest.raises(InputError, match="read from its end"):
        read("-", format="parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        read(path)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("range(10)", range(10)),
        ("range(2, 1_000)", range(2, 1000)),
        ("range(10,-10,-5)", range(10, -10, -5)),
        ("range(100000000)", range(100_000_000)),
        ("range.txt", None),
    ],
)
def test_a_range_is_read_as_python_reads_it(text: str, numbers: range | None) -> None:
    """It holds as many items as numbers, and none of them is written down."""
    assert numbers_of(text) == numbers


@pytest.mark.parametrize(
    "text", ["range(0)", "range(3,1)", "range(1,2,0)", "range(x)", "range(1e6)", "range(9**9)", "range()"]
)
def test_a_range_that_cannot_be_meant_is_refused(text: str) -> None:
    """Nothing is guessed, and nothing is evaluated."""
    with pytest.raises(InputError, match=r"range\("):
        numbers_of(text)
    with pytest.raises(InputError, match="more than"):
        numbers_of(f"range({10**30})")


def test_a_glob_gives_the_files_paths(tmp_path: Path) -> None:
    """Sorted and absolute, files only; ** reaches into folders. A name with a line break is rejected."""
    for name in ("b.jpg", "a.jpg", "c.txt", "deep/d.jpg", "br\neak.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    items, rejected = read(f"{tmp_path}/**/*.jpg", files=True)

    assert items == [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "deep/d.jpg")]
    assert len(rejected) == 1
    with pytest.raises(InputError, match="no file matches"):
        read(f"{tmp_path}/*.png", files=True)


def test_kinds_that_a_function_would_get_in_two_ways_are_not_mixed(tmp_path: Path) -> None:
    """Lines and JSON in one run; or a range beside a file."""
    text, objects = write(tmp_path / "a.txt", "1\n"), write(tmp_path / "b.jsonl", "2\n")
    with pytest.raises(InputError, match="some contain lines, others JSON"):
        read(text, objects)
    assert read(text, objects, format="jsonl")[0] == ["1", "2"]
    with pytest.raises(InputError, match="only input"):
        read("range(3)", text)
    with pytest.raises(InputError, match="no columns"):
        read(text, column="b")
    with pytest.raises(InputError, match="JSON document or JSON lines"):
        read(write(tmp_path / "c.json", "[]"))
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / "missing")


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.jsonl"])
def test_a_file_that_is_changed_while_it_is_read_submits_nothing(tmp_path: Path, name: str, change: str) -> None:
    """Half of the old file and half of the new one would be neither list."""
    path = write(tmp_path / name, ("1" * 999 + "\n") * 9000)
    items = Inputs([str(path)]).read(lambda _: None)
    next(items)
    if change == "grow":
        os.truncate(path, path.stat().st_size + 1)
    elif change == "shrink":
        os.truncate(path, 10)
    else:
        os.utime(path, (0, 0))

    with pytest.raises(InputError, match="changed while it was read"):
        list(items)


def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    """It stays whole for a process that has it open."""
    path = write(tmp_path / "list", ("1" * 999 + "\n") * 9000)
    items = Inputs([str(path)]).read(lambda _: None)
    count = len(next(items))
    path.unlink()

    assert count + sum(map(len, items)) == 9000


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """A named pipe has no size to be watched."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("one\ntwo\n"))
    writer.start()

    assert read(pipe, format="lines")[0] == ["one", "two"]
    writer.join()
