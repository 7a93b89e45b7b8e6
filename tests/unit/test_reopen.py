"""Failures that are done again: chosen by class and by number, and nothing else changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign
from sheaf.output.commit.reopen import reopen_failures
from sheaf.output.index.database import Index
from sheaf.output.output import Output
from sheaf.run.items import Batch, Done, Failed

RUN = "r-1"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    """12 items in batches of 4: all settled, of which 1, 5, 6 and 11 failed."""
    made = Output.create(tmp_path / "pages.txt")
    made.register_run(RUN, 12, 4)
    failed = [Failed(1, "A", "", 1), Failed(5, "B", "", 1), Failed(6, "A", "", 1), Failed(11, "B", "", 1)]
    done = [Done(index, b"%d\n" % index) for index in range(12) if index not in (1, 5, 6, 11)]
    made.commit({RUN: [*done, *failed]}, worker="w", token=1)
    yield made
    made.close()


def open_items(output: Output) -> list[int]:
    batches = (Batch(RUN, number, number * 4, 4) for number in range(3))
    return [item for batch in batches for item in output.reader.remaining(RUN, batch)]


@pytest.mark.parametrize(
    ("errors", "items", "reopened", "complete_below"),
    [
        ((), (), [1, 5, 6, 11], 0),
        (("A",), (), [1, 6], 0),
        ((), (5, 11, 3), [5, 11], 1),
        (("B",), (6, 11), [11], 2),
        (("C",), (), [], 3),
    ],
)
def test_those_that_were_chosen_are_open_again(
    output: Output, errors: tuple[str, ...], items: tuple[int, ...], reopened: list[int], complete_below: int
) -> None:
    """Rows, bits and counters agree; records and the other failures stay."""
    before = output.reader.run(RUN)
    assert before.complete_below == 3

    assert output.reopen_failures(RUN, errors, items) == len(reopened)

    assert open_items(output) == reopened
    run = output.reader.run(RUN)
    assert (run.failed, run.done, run.bytes) == (4 - len(reopened), before.done, before.bytes)
    assert run.complete_below == complete_below
    assert {failure.index for failure in output.reader.failures(RUN)} == {1, 5, 6, 11} - set(reopened)
    assert output.records.one(RUN, 0) == b"0\n"


def test_what_was_reopened_can_be_settled_again(output: Output) -> None:
    output.reopen_failures(RUN)

    receipt = output.commit({RUN: [Done(index, b"late\n") for index in (1, 5, 6, 11)]}, worker="w", token=1)

    assert receipt.finished_runs == [RUN]
    assert [output.records.one(RUN, index) for index in (1, 11)] == [b"late\n"] * 2


def test_nothing_is_changed_before_the_index_is_committed(output: Output) -> None:
    index = Index(output.path, wait_s=60.0)
    assert reopen_failures(index.begin(), RUN) == 4
    index.roll_back()
    index.drop()

    assert open_items(output) == []
    assert output.reader.run(RUN).failed == 4


def test_a_failure_of_a_batch_without_a_row_is_a_damaged_index(output: Output) -> None:
    """And all stays as it was: the batches before it, too."""
    with closing(sqlite3.connect(f"{output.path}.index", isolation_level=None)) as connection:
        connection.execute("DELETE FROM batches WHERE number = 2")

    with pytest.raises(IndexForeign, match=r"batch 2.*sheaf repair pages\.txt"):
        output.reopen_failures(RUN)

    assert output.reader.run(RUN).failed == 4
    assert output.reader.remaining(RUN, Batch(RUN, 0, 0, 4)) == []
