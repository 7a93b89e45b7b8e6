"""An output of single records, and whether it is sound."""

from __future__ import annotations

from pathlib import Path

from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done
from tests.runs import RUN


def create_output(folder: Path) -> Output:
    """`pages.txt`, of a run of 100 items that no folder of runs knows, the first of which is done."""
    output = Output.create(folder / "pages.txt", header=b"HEADER\n")
    output.register_run(RUN, items=100, batch_size=10)
    commit(output, 0)
    return output


def commit(output: Output, index: int) -> None:
    output.commit({RUN: [Done(index, b"record %d\n" % index)]}, worker="w", token=1)


def assert_sound(output: Output, items: int) -> None:
    """Nothing is wrong with it, and this many items are done."""
    report = verify(output.path.parent, output.path)
    assert report.problems == []
    assert report.done == items
