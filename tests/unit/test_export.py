"""Exports: every record once, in the items' order if asked for, in formats that others read."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.errors import OutputPathError, OutputShortened, UsageError
from sheaf.export import Export, check_destination, export
from sheaf.formats import format_for
from sheaf.output.index.database import Index
from sheaf.output.output import Output
from sheaf.output.read.scan import read_spans, spans
from sheaf.run.items import Done, Failed, Result

RUN = "run-a"


def commit(path: Path, groups: list[list[Result]], items: int, batch_size: int = 7) -> None:
    """Make an output of one run by these commits."""
    output = Output.create(path, header=format_for(path.name).header(path.name))
    output.register_run(RUN, items, batch_size)
    for token, results in enumerate(groups):
        output.commit({RUN: results}, worker="w", token=token)
    output.close()


def valued(path: Path, values: list[Any], batch_size: int = 2) -> Path:
    """An output with these values, the last one committed first."""
    chosen = format_for(path.name)
    done = [Done(index, chosen.value(index, f"item {index}", value)) for index, value in enumerate(values)]
    commit(path, [[each] for each in reversed(done)], len(values), batch_size)
    return path


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(40)),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    batch_size=st.integers(1, 50),
    failed=st.sets(st.integers(0, 39), max_size=10),
)
def test_records_come_in_the_items_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int], batch_size: int, failed: set[int]
) -> None:
    """However batches and commits lie across each other: every record once, those of failed items left out."""
    path = tmp_path_factory.mktemp("data") / "o.txt"
    bounds = [0, *sorted(cuts), 40]
    results: list[Result] = [
        Failed(index, "E", "", 1) if index in failed else Done(index, b"%d," % index * (index % 3 + 1))
        for index in order
    ]
    commit(path, [results[low:high] for low, high in pairwise(bounds)], 40, batch_size)
    index = Index(path, 0.0)
    records = {result.index: result.record for result in results if isinstance(result, Done)}

    ordered = list(read_spans(index, spans(index, RUN, ordered=True)))
    as_they_lie = list(read_spans(index, spans(index, RUN, ordered=False)))
    index.drop()

    assert b"".join(data for _, data in ordered) == b"".join(records[each] for each in sorted(records))
    assert b"".join(data for _, data in as_they_lie) == path.read_bytes()
    for found in (ordered, as_they_lie):
        assert sorted(s.first + step for s, _ in found for step in range(len(s.lengths))) == sorted(records)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_json_lines_become_other_formats_in_order(tmp_path: Path, suffix: str) -> None:
    """JSON lines packed and not, bare lines, a table: the same values, the first item first."""
    source = valued(tmp_path / f"o{suffix}", ["a", "b", "c", "d", "e"])

    for name in ("x.jsonl", "x.jsonl.gz", "x.txt", "x.csv", "x.parquet"):
        assert export(Export(source, RUN, tmp_path / name, ordered=True)) == 5

    lines = [f'{{"index":{n},"item":"item {n}","value":"{value}"}}' for n, value in enumerate("abcde")]
    assert (tmp_path / "x.jsonl").read_text().splitlines() == lines
    assert gzip.decompress((tmp_path / "x.jsonl.gz").read_bytes()).decode().splitlines() == lines
    assert (tmp_path / "x.txt").read_text() == "a\nb\nc\nd\ne\n"
    with open(tmp_path / "x.csv", newline="") as table:
        assert [row["value"] for row in csv.DictReader(table)] == list("abcde")
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist() == list(map(json.loads, lines))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_objects_are_spread_over_columns(tmp_path: Path) -> None:
    """Keys that come late have a column too; a name that is taken gets a prefix; mixed kinds and nests become text."""
    values = [{"n": 1, "x": True}, {"n": 2.5, "late": "é", "item": "own"}, {"n": None, "x": "no", "nest": [1, {}]}, 7]
    source = valued(tmp_path / "o.jsonl", values)

    export(Export(source, RUN, tmp_path / "x.parquet", ordered=True))
    export(Export(source, RUN, tmp_path / "x.csv", ordered=True, columns=["n", "index", "missing"]))

    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "index": "int64",
        "item": "string",
        "value": "int64",
        "n": "double",
        "x": "string",
        "nest": "string",
        "late": "string",
        "value.item": "string",
    }
    rows = table.to_pylist()
    assert [row["n"] for row in rows] == [1.0, 2.5, None, None]
    assert [row["x"] for row in rows] == ["true", None, "no", None]
    assert (rows[1]["value.item"], rows[1]["item"], rows[1]["late"]) == ("own", "item 1", "é")
    assert (rows[2]["nest"], rows[3]["value"]) == ("[1,{}]", 7)
    assert (tmp_path / "x.csv").read_text() == "n,index,missing\n1,0,\n2.5,1,\n,2,\n,3,\n"


def test_numbers_and_texts_that_no_column_holds_are_written_as_text(tmp_path: Path) -> None:
    """Beyond 64 bits, and lone surrogates."""
    source = valued(tmp_path / "o.jsonl", [{"big": 2**70, "odd": "\ud800"}, {"big": 1, "odd": ""}])

    export(Export(source, RUN, tmp_path / "x.parquet", ordered=True))

    rows = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert [(row["big"], row["odd"]) for row in rows] == [(str(2**70), "\\ud800"), ("1", "")]


def test_a_csv_output_is_put_in_order_with_its_header(tmp_path: Path) -> None:
    """An output that is not JSON lines keeps its format."""
    source = valued(tmp_path / "o.csv", ["b", "a"])

    export(Export(source, RUN, tmp_path / "x.csv", ordered=True))

    assert (tmp_path / "x.csv").read_text() == "index,item,value\n0,item 0,b\n1,item 1,a\n"


def test_what_cannot_be_exported_leaves_what_was_there(tmp_path: Path) -> None:
    """A record that the format cannot hold, an output that was cut: the old file stays, no draft is left."""
    source = valued(tmp_path / "o.jsonl", ["fine", "two\nlines"])
    (tmp_path / "x.txt").write_text("old")
    with pytest.raises(UsageError, match=r"item 1 returned text with a line break.*Nothing was written"):
        export(Export(source, RUN, tmp_path / "x.txt"))
    source.write_bytes(source.read_bytes()[:20])
    with pytest.raises(OutputShortened):
        export(Export(source, RUN, tmp_path / "x.csv"))

    assert (tmp_path / "x.txt").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] in ".x") == ["x.txt"]


def test_a_destination_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    valued(tmp_path / "o.jsonl", [1])
    (tmp_path / "there.csv").write_text("mine")
    for name, source, complaint in (
        ("x.pdf", "o.jsonl", "no suffix"),
        ("x.csv", "o.warc.gz", "only .jsonl and .jsonl.gz outputs"),
        ("o.jsonl", "p.jsonl", "an output with an index"),
        ("no/x.csv", "o.jsonl", "does not exist"),
        ("there.csv", "o.jsonl", "--force"),
    ):
        with pytest.raises(OutputPathError, match=complaint):
            check_destination(source, tmp_path / name, replace=False)
    check_destination("o.jsonl", tmp_path / "there.csv", replace=True)


def test_an_export_for_spreadsheets_holds_no_formula(tmp_path: Path) -> None:
    """`--csv-safe`: values, items and the names of columns; numbers stay numbers."""
    source = valued(tmp_path / "v.jsonl", [{"=name": "=1+1", "n": -5}, {"=name": "@SUM", "n": 3}])
    found = {}
    for safe in (True, False):
        copy = tmp_path / f"{safe}.csv"
        export(Export(source, RUN, copy, ordered=True, csv_safe=safe))
        found[safe] = copy.read_text()

    assert found[True].splitlines()[0].endswith("'=name,n")
    assert [line.rpartition("item ")[2] for line in found[True].splitlines()[1:]] == ["0,'=1+1,-5", "1,'@SUM,3"]
    assert found[False] == found[True].replace("'", "")


@pytest.mark.parametrize(
    ("values", "type", "expected"),
    [
        (
            [2**64, 12345678901234567890123, -(2**63) - 1, 7],
            "string",
            ["18446744073709551616", "12345678901234567890123", "-9223372036854775809", "7"],
        ),
        ([2**63 - 1, -(2**63), None], "int64", [2**63 - 1, -(2**63), None]),
        ([2**53 + 1, 0.5, None], "string", ["9007199254740993", "0.5", None]),
        ([2**53, 0.5, None], "double", [2.0**53, 0.5, None]),
        ([2**53 + 1, 2**60, 3], "int64", [2**53 + 1, 2**60, 3]),
        ([2**60, True], "string", ["1152921504606846976", "true"]),
        ([float("nan"), 1, float("-inf")], "double", ["nan", "1.0", "-inf"]),
        ([float("nan"), "NaN", None], "string", ["NaN", "NaN", None]),
        (
            [{"deep": [2**70, {"n": 12345678901234567890123}]}],
            "string",
            ['[1180591620717411303424,{"n":12345678901234567890123}]'],
        ),
        (["NaN", "1e400", "-0"], "string", ["NaN", "1e400", "-0"]),
        ([-0.0, 1e22], "double", ["-0.0", "1e+22"]),
    ],
    ids=str,
)
def test_no_number_changes_on_its_way_into_a_table(
    tmp_path: Path, values: list[Any], type: str, expected: list[Any]
) -> None:
    """Beyond 64 bits, beyond what a float holds, inside of nests; a column that cannot hold all of them is text."""
    source = valued(tmp_path / "o.jsonl", values)
    for name in ("x.parquet", "x.csv", "x.txt"):
        if name != "x.txt" or not any(isinstance(value, dict) for value in values):
            export(Export(source, RUN, tmp_path / name, ordered=True))

    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    column = table.column("deep" if isinstance(values[0], dict) else "value")
    assert str(column.type) == type
    found = column.to_pylist()
    assert (list(map(str, found)) if type == "double" and None not in expected else found) == expected
    with open(tmp_path / "x.csv", newline="") as rows:
        fields = [row[column_name] for row in csv.DictReader(rows) for column_name in list(row)[2:]]
    if isinstance(values[0], float):
        assert (tmp_path / "x.txt").read_text().splitlines() == [field or "null" for field in fields]
    for field, value in zip(fields, values, strict=True):
        if isinstance(value, int) and not isinstance(value, bool):
            assert field == str(value)


def test_a_table_is_written_whatever_stands_in_it(tmp_path: Path) -> None:
    """Lone surrogates in names, keys that are the record's own, nests as deep as any, empty objects, no rows at all."""
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    values = [
        {"\ud800": 1, "": 2, "index": 3, "value.index": 4, "value": 5, "not_finite": [["x"]]},
        {},
        {"deep": deep, "x": [{}], "big": "é" * 100_000},
        {"value": float("inf"), "x": {"index": 1}},
        b"\xff",
    ]
    source = valued(tmp_path / "o.jsonl.gz", values)

    def from_deep_down(calls: int, name: str) -> int:
        """A program may call from anywhere; what was written in a worker has to be read there."""
        if calls:
            return from_deep_down(calls - 1, name)
        return export(Export(source, RUN, tmp_path / name, ordered=True))

    for name in ("x.parquet", "x.csv"):
        assert from_deep_down(200, name) == 5

    rows = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert rows[0] | {"item": ""} == dict.fromkeys(rows[0]) | {
        "index": 0,
        "item": "",
        "\\ud800": 1,
        "": 2,
        "value.value.index": 3,
        "value.index": 4,
        "value": 5.0,
        "not_finite": '[["x"]]',
    }
    assert rows[2]["deep"] == "[" * 900 + "1" + "]" * 900
    assert (rows[3]["value"], rows[4]["value_base64"]) == (float("inf"), "/w==")
    commit(tmp_path / "empty.jsonl", [], 3)
    assert export(Export(tmp_path / "empty.jsonl", RUN, tmp_path / "empty.parquet")) == 0


def test_a_group_of_rows_is_bounded_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large values do not fill the memory fifty thousand at a time."""
    monkeypatch.setattr("sheaf.export.tables._GROUP_BYTES", 10_000)
    source = valued(tmp_path / "o.jsonl", ["x" * 3_000] * 20)

    export(Export(source, RUN, tmp_path / "x.parquet"))

    assert pyarrow.parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups >= 4
