"""`sheaf map` and `sheaf retry`, typed by a person: a function over every kind of input, each result once."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.console import Console, wait_until
from tests.packing import zstd

SHOP = """
def square(number):
    return number * number

def describe(row):
    return {"town": row["town"].upper(), "letters": len(row["town"])}

def shout(line):
    print("a print of the user's does no harm")
    return line.upper()

def size(path):
    with open(path, "rb") as file:
        return len(file.read())

def no_bad(line):
    if "bad" in line:
        raise ValueError(f"cannot take {line}")
    return line

def not_json(line):
    return {line}
"""


@pytest.fixture(scope="module", autouse=True)
def tasks(cluster: Console) -> Path:
    folder = cluster.folder / "tasks"
    folder.mkdir(exist_ok=True)
    (folder / "shop.py").write_text(SHOP)
    return folder


def records(cluster: Console, name: str) -> list[dict[str, Any]]:
    """What a JSON lines output holds, in the items' order."""
    path = cluster.data / name
    text = gzip.decompress(path.read_bytes()).decode() if name.endswith(".gz") else path.read_text()
    return sorted(map(json.loads, text.splitlines()), key=lambda record: record["index"])


def test_a_range_of_numbers_becomes_a_file(cluster: Console) -> None:
    """Nothing is written per number before the function is called, and every result is in the file once."""
    done = cluster.run("map", "shop:square", "range(5, 20000, 3)")

    assert "6,665 items from range(5, 20000, 3)" in done.stderr
    found = records(cluster, "square.jsonl")
    assert [(record["item"], record["value"]) for record in found] == [(str(n), n * n) for n in range(5, 20000, 3)]
    assert not (cluster.data / "runs" / cluster.runs()[-1] / "items").exists()
    assert "OK: every item" in cluster.run("verify", "square.jsonl").stdout


def test_a_hundred_million_items_are_submitted_at_once(cluster: Console) -> None:
    """A few hundred bytes say what is to be done; the run begins, and may be cancelled."""
    run = cluster.run("map", "shop:square", "range(100_000_000)", "-o", "huge.jsonl", "--detach").stdout.strip()
    cluster.run("cancel", run)

    folder = cluster.data / "runs" / run
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4096


def test_every_kind_of_list_is_read(cluster: Console) -> None:
    """Lines from standard input, packed JSON lines, rows of CSV and a column of them, files by a pattern."""
    towns = 'town,size\nKöln,1\n"Ulm, Donau",2\n'
    (cluster.folder / "towns.csv").write_text(towns)
    (cluster.folder / "rows.jsonl.zst").write_bytes(zstd.compress(b'{"town": "Bonn"}\nnonsense\n{"town": NaN}\n'))

    cluster.run("map", "shop:shout", "-", "-o", "lines.jsonl", given="one\n\n two \n")
    cluster.run("map", "shop:describe", "towns.csv", "-o", "towns.jsonl.gz")
    cluster.run("map", "shop:shout", "towns.csv", "--column", "town", "-o", "column.jsonl")
    rejected = cluster.run("map", "shop:describe", "rows.jsonl.zst", "-o", "rows.jsonl").stderr
    cluster.run("map", "shop:size", "--files", "*.csv", "-o", "files.jsonl")

    assert [record["value"] for record in records(cluster, "lines.jsonl")] == ["ONE", " TWO "]
    assert records(cluster, "towns.jsonl.gz")[1]["value"] == {"town": "ULM, DONAU", "letters": 10}
    assert [record["value"] for record in records(cluster, "column.jsonl")] == ["KÖLN", "ULM, DONAU"]
    assert [record["value"] for record in records(cluster, "rows.jsonl")] == [{"town": "BONN", "letters": 4}]
    assert "line 2 of rows.jsonl.zst: not JSON" in rejected
    assert "line 3 of rows.jsonl.zst: not usable JSON: NaN" in rejected
    assert records(cluster, "files.jsonl")[0]["value"] == len(towns.encode())


def test_tables_and_lines_are_written(cluster: Console) -> None:
    """CSV with its first row once, chosen columns, bare lines."""
    (cluster.folder / "some.csv").write_text("town\nKöln\nUlm\n")

    cluster.run("map", "shop:square", "range(3)", "-o", "squares.csv")
    cluster.run("map", "shop:describe", "some.csv", "-o", "chosen.csv", "--columns", "item,town,letters")
    cluster.run("map", "shop:shout", "some.csv", "--column", "town", "-o", "bare.txt")
    complaint = cluster.refused("map", "shop:describe", "some.csv", "-o", "chosen.csv", "--columns", "town")

    assert sorted((cluster.data / "squares.csv").read_text().splitlines()[1:]) == ["0,0,0", "1,1,1", "2,2,4"]
    with open(cluster.data / "chosen.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert sorted((row["town"], row["letters"]) for row in rows) == [("KÖLN", "4"), ("ULM", "3")]
    assert sorted((cluster.data / "bare.txt").read_text().splitlines()) == ["KÖLN", "ULM"]
    assert "has the columns item,town,letters" in complaint


def test_a_finished_output_is_put_in_order_and_into_other_formats(cluster: Console) -> None:
    """At the end of a map, or later by `sheaf export`; a Parquet output is worked on as JSON lines."""
    cluster.run("map", "shop:square", "range(3000)", "-o", "many.jsonl", "--batch-size", "7", "--ordered")
    cluster.run("map", "shop:square", "range(3000)", "-o", "table.parquet", "--ordered")
    said = cluster.run("map", "shop:square", "range(10)", "-o", "later.parquet", "--ordered", "--detach").stderr
    cluster.run("watch", "last")
    cluster.run(*said.rpartition("When it is finished: sheaf ")[2].split())
    cluster.run("export", "many.jsonl", "many.csv", "--ordered")
    cluster.run("export", "many.jsonl", "./here.txt")

    expected = "".join(f'{{"index":{n},"item":"{n}","value":{n * n}}}\n' for n in range(3000))
    assert (cluster.data / "many.ordered.jsonl").read_text() == expected
    assert pyarrow.parquet.read_table(cluster.data / "table.parquet")["value"].to_pylist() == [
        n * n for n in range(3000)
    ]
    assert pyarrow.parquet.read_table(cluster.data / "later.parquet").num_rows == 10
    assert (cluster.data / "many.csv").read_text().splitlines()[1:3] == ["0,0,0", "1,1,1"]
    assert len((cluster.folder / "here.txt").read_text().splitlines()) == 3000
    assert "--force" in cluster.refused("export", "many.jsonl", "many.csv")
    cluster.run("map", "shop:square", "range(3)", "-o", "taken.ordered.jsonl")
    assert "an output with an index" in cluster.refused(
        "map", "shop:square", "range(3)", "-o", "taken.jsonl", "--ordered"
    )


def test_a_part_of_a_list_is_taken(cluster: Console) -> None:
    """The first ones, a sample that is the same each time, each text once."""
    numbers = "".join(f"{number}\n" for number in range(1000))
    cluster.run("map", "shop:shout", "-", "-o", "first.jsonl", "--limit", "3", given=numbers)
    cluster.run("map", "shop:shout", "-", "-o", "sample.jsonl", "--sample", "10%", given=numbers)
    again = cluster.run("map", "shop:shout", "-", "-o", "sample.jsonl", "--sample", "0.1", given=numbers).stderr
    cluster.run("map", "shop:shout", "-", "-o", "unique.jsonl", "--unique", given="a\nb\na\n")

    assert [record["item"] for record in records(cluster, "first.jsonl")] == ["0", "1", "2"]
    assert 50 < len(records(cluster, "sample.jsonl")) < 200
    assert "already" in again
    assert [record["item"] for record in records(cluster, "unique.jsonl")] == ["a", "b"]


def test_a_dry_run_submits_nothing(cluster: Console) -> None:
    """The first items are tried here, with what comes of them, and what fails."""
    before = cluster.runs()

    shown = cluster.run("map", "shop:no_bad", "-", "--dry-run", given="good\nbad one\n").stdout

    assert '{"index":0,"item":"good","value":"good"}' in shown
    assert "fails: ValueError: cannot take bad one" in shown
    assert cluster.runs() == before


def test_a_list_through_a_pipe_is_the_list(cluster: Console) -> None:
    """Read once: all items, none that is not in it; tried before, and submitted again, it is the same list."""
    lines = [f"item{number}end" for number in range(30_000)]
    text = "".join(f"{line}\n" for line in lines)

    tried = cluster.run("map", "shop:shout", "/dev/stdin", "--dry-run", given=text)
    done = cluster.run("map", "shop:shout", "/dev/stdin", "-o", "piped.jsonl", given=text)
    again = cluster.run("map", "shop:shout", "/dev/fd/0", "-o", "piped.jsonl", given=text)
    command = cluster.run("exec", "/dev/stdin", "-o", "piped-exec.jsonl", "--", "echo", given="a\nb\n")

    assert tried.stdout.startswith("item 0: item0end\n")
    assert "30,000 items from /dev/stdin" in done.stderr and "rejected" not in done.stderr
    assert [record["value"] for record in records(cluster, "piped.jsonl")] == [line.upper() for line in lines]
    assert "has already done the same items" in again.stderr
    assert "2 items from /dev/stdin" in command.stderr


def test_failed_items_are_done_again_into_the_same_file(cluster: Console, tasks: Path) -> None:
    """The function is corrected, the run retried: same run, same indexes, each item once; the version is on record."""
    given = "one\nbad two\nthree\nbad four\n"
    (tasks / "flaky.py").write_text("def take(line):\n    if 'bad' in line: raise ValueError(line)\n    return line\n")
    first = cluster.run("map", "flaky:take", "-", "-o", "flaky.jsonl", given=given)
    assert "2 failed" in first.stdout
    run = cluster.runs()[-1]
    assert "ValueError (2)" in cluster.refused("retry", run, "--error", "Timeout")
    assert "item 0 of run" in cluster.refused("retry", run, "--item", "0")

    (tasks / "flaky.py").write_text(
        "def take(line):\n    if 'four' in line: raise KeyError(line)\n    return len(line)\n"
    )
    once_more = cluster.run("retry", run)
    assert "1 failed" in once_more.stdout
    (tasks / "flaky.py").write_text("def take(line):\n    return len(line)\n")
    again = cluster.run("map", "flaky:take", "-", "-o", "flaky.jsonl", "--only-failed", given=given)

    assert "1 failed item to be done again, with the task as it is now" in again.stderr
    assert [record["value"] for record in records(cluster, "flaky.jsonl")] == ["one", 7, "three", 8]
    assert [record["index"] for record in records(cluster, "flaky.jsonl")] == [0, 1, 2, 3]
    assert "OK: every item" in cluster.run("verify", "flaky.jsonl").stdout
    assert cluster.run("status", run).stdout.count("version ") == 3
    assert "no item of run" in cluster.refused("retry", run)


def test_failed_items_are_reopened_while_the_run_goes_on(cluster: Console, tasks: Path) -> None:
    """Workers are at it, with the failed items' batches in their hands: each item still ends up done or failed once."""
    (tasks / "slow.py").write_text(
        "import time\ndef take(n):\n    time.sleep(0.02)\n    if n % 7 == 0: raise ValueError(n)\n    return n\n"
    )
    run = cluster.run(
        "map", "slow:take", "range(400)", "-o", "reopened.jsonl", "--batch-size", "50", "-d"
    ).stdout.strip()
    for _ in range(3):
        wait_until(lambda: cluster.run("failures", run, "--items").stdout, 60, "some item has failed")
        cluster.run("retry", run, "--detach")
    cluster.run("watch", run)

    assert [record["index"] for record in records(cluster, "reopened.jsonl")] == [n for n in range(400) if n % 7]
    assert len(cluster.run("failures", run, "--items").stdout.split()) == 58
    assert "OK: every item" in cluster.run("verify", "reopened.jsonl").stdout


@pytest.mark.parametrize(
    ("arguments", "given", "complaint"),
    [
        (["map", "shop:square"], "", "Missing argument 'INPUT...'"),
        (["map", "shop:missing", "range(3)"], "", "has no function 'missing'"),
        (["map", "nowhere:square", "range(3)"], "", "needs the file"),
        (["map", "os:remove", "range(3)"], "", "os"),
        (["map", "shop:square", "range(0)"], "", "is empty"),
        (["map", "shop:square", "range(3)", "list.txt"], "", "only input"),
        (["map", "shop:square", "-"], "", "holds no item"),
        (
            ["map", "shop:square", "-", "--input-format", "jsonl"],
            "nonsense\n[NaN]\n",
            "no line of standard input can be used",
        ),
        (["map", "shop:square", "missing.csv"], "", "no file missing.csv"),
        (["map", "shop:square", "--files", "*.none"], "", "no file matches"),
        (["map", "shop:square", "range(3)", "-o", "o.warc.gz"], "", "can hold loaded pages only"),
        (["map", "shop:square", "range(3)", "-o", "o.pdf"], "", "no suffix that names a record format"),
        (["map", "shop:square", "range(3)", "--sample", "200%"], "", "is no part of a whole"),
        (["map", "shop:square", "range(9)", "-o", "new.jsonl", "--only-failed"], "", "submit it without --only-failed"),
        (["load", "-", "-o", "pages.csv"], "http://example.org", "can hold the values that functions return only"),
        (["export", "nothing.jsonl", "x.csv"], "", "there is no output"),
        (["retry", "nothing"], "", "no run 'nothing'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(
    cluster: Console, arguments: list[str], given: str, complaint: str
) -> None:
    """Nothing is submitted, and the line says what to do."""
    if not cluster.runs():
        cluster.run("map", "shop:square", "range(3)", "-o", "first.jsonl")
    before = cluster.runs()

    assert complaint in cluster.refused(*arguments, given=given)

    assert cluster.runs() == before


def test_a_value_that_json_cannot_hold_fails_its_item(cluster: Console) -> None:
    """The failure names item and type; the run ends."""
    done = cluster.run("map", "shop:not_json", "-", "-o", "not_json.jsonl", given="one\n", status=1)

    assert "1 failed" in done.stdout
    assert "item 0 returned a set" in cluster.run("failures", "last").stdout


def test_nothing_doubles_in_silence(cluster: Console, tasks: Path) -> None:
    """The same list by a corrected function is not appended to the first results unless a person says so."""
    cluster.list_file("prices.txt", "1", "2", "3")
    (tasks / "twice.py").write_text("def price(line):\n    return int(line)\n")
    cluster.run("map", "twice:price", "prices.txt", "-o", "twice.jsonl")
    (tasks / "twice.py").write_text("def price(line):\n    return int(line) * 10\n")

    refused = cluster.run("map", "twice:price", "prices.txt", "-o", "twice.jsonl", status=2).stderr
    assert "data/twice.jsonl already holds 3 records" in refused
    assert all(option in refused for option in ("--append", "--replace", "-o"))
    assert len(records(cluster, "twice.jsonl")) == 3

    replaced = cluster.run("map", "twice:price", "prices.txt", "-o", "twice.jsonl", "--replace").stderr
    assert "The previous data/twice.jsonl is now in data/twice.jsonl.replaced-1/." in replaced
    assert sorted(record["value"] for record in records(cluster, "twice.jsonl")) == [10, 20, 30]
    assert "3 done" in cluster.run("verify", "data/twice.jsonl.replaced-1/twice.jsonl").stdout

    cluster.run("map", "twice:price", "prices.txt", "-o", "twice.jsonl", "--limit", "2", "--append")
    assert len(records(cluster, "twice.jsonl")) == 5
