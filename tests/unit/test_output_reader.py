"""What an output's index knows, asked from outside while others commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import IndexForeign
from sheaf.output.index.database import Index
from sheaf.output.output import Output
from sheaf.output.read import reader as reader_module
from sheaf.output.read.reader import OutputReader
from sheaf.run.items import Batch, Done, Failed

RUN = "r-1"


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    """Knows a run of 30 items in batches of 3."""
    made = Output.create(tmp_path / "pages.txt", header=b"HEADER\n")
    made.register_run(RUN, 30, 3)
    yield made
    made.close()


@pytest.fixture
def reader(output: Output) -> Iterator[OutputReader]:
    """Of another process's kind: with a connection of its own."""
    index = Index(output.path, wait_s=60.0)
    yield OutputReader(index)
    index.drop()


def settle(output: Output, *items: int) -> None:
    output.commit({RUN: [Done(item, b"x\n") for item in items]}, worker="w", token=4)


def test_it_sees_each_commit_as_soon_as_that_is_made(output: Output, reader: OutputReader) -> None:
    assert (reader.run(RUN).done, reader.state().length) == (0, 0)

    settle(output, 0, 1)

    assert (reader.run(RUN).done, reader.run(RUN).open) == (2, 28)
    state = reader.state()
    assert (state.header, state.length, state.token) == (b"HEADER\n", 11, 4)
    output.register_run("r-2", 1, 1)
    assert list(reader.runs()) == [RUN, "r-2"]


def test_a_batch_of_which_nothing_is_settled_is_left_whole(output: Output, reader: OutputReader) -> None:
    """One that is settled leaves nothing, one in between its open items."""
    settle(output, 3, 4, 5, 7)
    remaining = [list(reader.remaining(RUN, Batch(RUN, number, number * 3, 3))) for number in range(3)]
    assert remaining == [[0, 1, 2], [], [6, 8]]


def test_open_batches_are_found_page_by_page(
    output: Output, reader: OutputReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between complete ones, before the first and after the last, whatever a page holds."""
    monkeypatch.setattr(reader_module, "PAGE_ROWS", 2)
    for batch in (0, 1, 3, 4, 6, 9):
        settle(output, *range(batch * 3, batch * 3 + 3))

    assert list(reader.unfinished_batches(RUN)) == [2, 5, 7, 8]

    for batch in (2, 5, 7, 8):
        settle(output, *range(batch * 3, batch * 3 + 3))
    assert list(reader.unfinished_batches(RUN)) == []


def test_a_commit_between_two_pages_takes_nothing_away(
    output: Output, reader: OutputReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is held between two: the writer is not kept waiting, and what it adds is seen."""
    monkeypatch.setattr(reader_module, "PAGE_ROWS", 2)
    output.commit({RUN: [Failed(item, "E", "", 1) for item in (1, 2, 5)]}, worker="w", token=1)

    failures = reader.failures(RUN)
    first = [next(failures).index, next(failures).index]
    output.commit({RUN: [Failed(item, "E", "", 1) for item in (0, 9)]}, worker="w", token=1)

    assert first + [failure.index for failure in failures] == [1, 2, 5, 9]


def test_an_unknown_run_is_an_error_whatever_is_asked(reader: OutputReader) -> None:
    for ask in (
        lambda: reader.run("r-9"),
        lambda: reader.remaining("r-9", Batch("r-9", 0, 0, 3)),
        lambda: list(reader.unfinished_batches("r-9")),
        lambda: list(reader.failures("r-9")),
        lambda: reader.shares("r-9"),
    ):
        with pytest.raises(IndexForeign, match="does not know the run r-9"):
            ask()
