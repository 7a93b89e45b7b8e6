"""The loop of a plain function: item in, result out, one after another. Everything slow is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sheaf.batch import Done, Result
from sheaf.formats import Format
from sheaf.tasks import Source
from sheaf.tasks.calls import Call
from sheaf.tasks.faults import failed
from sheaf.tasks.home import home

#: How long a child waits for the next item before it takes an idle turn.
IDLE_S = 1.0


def run_plain(call: Call, folder: Path | None, source: Source, format: Format) -> Iterator[Result | None]:
    """Call the function once per item. What it raises is its item's failure, after one attempt."""
    while True:
        item = source.take(0)
        if item is None:
            if source.closed:
                return
            yield None
            item = source.take(IDLE_S)
            if item is None:
                continue
        result: Result
        try:
            result = Done(item.index, format.value(item, call(item.text)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code raises is this item's failure
            result = failed(item, error, folder)
        if home.left:
            home.go_back()
        yield result
