"""Every moment and number that a Parquet file can hold is an item, or is rejected with its row's number."""

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from sheaf.core.errors import InputError
from sheaf.submission.tally import Line
from sheaf_producer.inputs import Inputs

NS_2026 = 1_767_323_045_000_000_000
STRUCT = pyarrow.struct([("t", pyarrow.timestamp("ns")), ("n", pyarrow.int8())])


def read(path: Path, column: str | None = None) -> tuple[list[Any], list[Line]]:
    rejected: list[Line] = []
    items = [item for items in Inputs([str(path)], column=column).read(rejected.append) for item in items]
    return list(map(json.loads, items)), rejected


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (
            pyarrow.timestamp("us"),
            [0, 1, 569_000_000_000_000_000],
            ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000001", "20000-11-22T03:33:20"],
        ),
        (
            pyarrow.timestamp("s"),
            [-62_135_596_801, -62_167_219_201, 253_402_300_800],
            ["0000-12-31T23:59:59", "-0001-12-31T23:59:59", "10000-01-01T00:00:00"],
        ),
        (
            pyarrow.timestamp("ms", "UTC"),
            [1, 2**62],
            ["1970-01-01T00:00:00.001000+00:00", "146140482-04-24T15:36:27.904000+00:00"],
        ),
        (
            pyarrow.timestamp("ns"),
            [0, 3, NS_2026 + 123_456_000, NS_2026 + 1],
            [
                "1970-01-01T00:00:00",
                "1970-01-01T00:00:00.000000003",
                "2026-01-02T03:04:05.123456",
                "2026-01-02T03:04:05.000000001",
            ],
        ),
        (pyarrow.timestamp("ns"), [0, 5_000, None], ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000005", None]),
        (
            pyarrow.timestamp("ns", "Europe/Berlin"),
            [NS_2026 + 1, -1],
            ["2026-01-02T04:04:05.000000001+01:00", "1970-01-01T00:59:59.999999999+01:00"],
        ),
        (pyarrow.timestamp("ns", "+05:30"), [1], ["1970-01-01T05:30:00.000000001+05:30"]),
        (pyarrow.timestamp("s", "Mars/Olympus"), [1], ["1970-01-01T00:00:01+00:00"]),
        (
            pyarrow.time64("ns"),
            [1, 86_399_999_999_999, 5_000],
            ["00:00:00.000000001", "23:59:59.999999999", "00:00:00.000005"],
        ),
        (pyarrow.time64("us"), [3_600_000_000], ["01:00:00"]),
        (pyarrow.date32(), [0, 10_000_000, -800_000], ["1970-01-01", "29349-01-26", "-0221-09-04"]),
        (pyarrow.duration("ns"), [1, 1_500_000_000, 2**62 + 1], [1e-9, 1.5, "4611686018.427387905"]),
        (pyarrow.duration("s"), [10**18, 60], [1e18, 60.0]),
        (pyarrow.duration("us"), [1_500_000], [1.5]),
        (
            pyarrow.list_(pyarrow.timestamp("ns")),
            [[1, None], [], None],
            [["1970-01-01T00:00:00.000000001", None], [], None],
        ),
        (STRUCT, [{"t": 1, "n": 2}, None], [{"t": "1970-01-01T00:00:00.000000001", "n": 2}, None]),
        (
            pyarrow.map_(pyarrow.string(), pyarrow.timestamp("ns")),
            [[("k", 1)]],
            [[["k", "1970-01-01T00:00:00.000000001"]]],
        ),
        (pyarrow.list_(STRUCT), [[{"t": 1_000, "n": 2}]], [[{"t": "1970-01-01T00:00:00.000001", "n": 2}]]),
        (pyarrow.decimal256(50, 3), [Decimal("1" * 40 + ".125")], ["1" * 40 + ".125"]),
        (pyarrow.uint64(), [2**64 - 1], [2**64 - 1]),
        (pyarrow.float16(), [1.5], [1.5]),
        (pyarrow.float32(), [0.5, float("inf")], [0.5, float("inf")]),
        (pyarrow.string(), ["", "é", None], ["", "é", None]),
    ],
    ids=str,
)
def test_a_value_is_carried_exactly(tmp_path: Path, kind: Any, values: list[Any], expected: list[Any]) -> None:
    """Beyond Python's years, with nanoseconds, in any nest: as text. Nothing here asks for pandas."""
    path = tmp_path / "x.parquet"
    table = pyarrow.table({"n": range(len(values)), "v": pyarrow.array(values, kind)})
    pyarrow.parquet.write_table(table, path)

    rows, rejected = read(path)

    assert ([row["v"] for row in rows], rejected) == (expected, [])
    assert [row["n"] for row in rows] == list(range(len(values)))
    if kind != pyarrow.string():
        assert read(path, "v") == (expected, [])


def test_what_cannot_be_read_costs_its_own_row(tmp_path: Path) -> None:
    """Bytes that claim to be text; the rows around it, and the rows of other batches, are items."""
    path = tmp_path / "x.parquet"
    text = pyarrow.array([b"a", b"\xff", b"c"] * 2_000, pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"n": range(6_000), "v": text}), path)

    rows, rejected = read(path)

    assert [row["n"] for row in rows] == [n for n in range(6_000) if n % 3 != 1]
    assert [line.number for line in rejected] == [n + 1 for n in range(6_000) if n % 3 == 1]
    assert "utf-8" in (rejected[0].problem or "")


def test_a_moment_that_python_has_reads_as_it_always_did(tmp_path: Path) -> None:
    """Whatever else is in its column: what was submitted yesterday is the same list today."""
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, datetime.UTC)
    kind = pyarrow.timestamp("us", "America/New_York")
    path = tmp_path / "x.parquet"
    for others in ([], [2**60]):
        pyarrow.parquet.write_table(pyarrow.table({"t": pyarrow.array([when, *others], kind)}), path)
        assert read(path)[0][0] == {"t": "2026-01-01T22:04:05.000678-05:00"}


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """A row holds one of them: the other would be lost without a word."""
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["a", "a"]), path)
    with pytest.raises(InputError, match="several columns 'a'"):
        read(path)
