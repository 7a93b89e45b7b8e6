"""Classes of failures that an earlier version called otherwise: an index goes on being understood."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import UsageError
from sheaf.output.output import Output
from sheaf.run.items import Failed


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    """An output of an earlier version: one item out of time, and one that failed by now's name."""
    made = Output.create(tmp_path / "o.jsonl")
    made.register_run("r-1", 3, 3)
    failed = [Failed(0, "TimedOut", "late", 1), Failed(1, "Timeout", "late", 1), Failed(2, "ValueError", "bad", 1)]
    made.commit({"r-1": failed}, worker="w", token=1)
    yield made
    made.close()


def test_they_are_shown_by_the_name_of_today(output: Output) -> None:
    assert [failure.error for failure in output.reader.failures("r-1")] == ["Timeout", "Timeout", "ValueError"]
    with pytest.raises(UsageError, match="has no record: Timeout: late"):
        output.records.one("r-1", 0)


@pytest.mark.parametrize("name", ["Timeout", "TimedOut"])
def test_they_are_done_again_by_either_name(output: Output, name: str) -> None:
    assert output.reopen_failures("r-1", [name]) == 2
    assert [failure.error for failure in output.reader.failures("r-1")] == ["ValueError"]
