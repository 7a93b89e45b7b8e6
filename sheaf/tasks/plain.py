"""The loop of a plain function: item in, result out, one after another. Everything slow is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sheaf.batch import Failed, Item, Result
from sheaf.formats import Format
from sheaf.tasks import Source
from sheaf.tasks.calls import Call
from sheaf.tasks.faults import failed
from sheaf.tasks.home import home

#: How long a child waits for the next item before it takes an idle turn.
IDLE_S = 1.0


def run_plain(call: Call, folder: Path | None, source: Source, format: Format) -> Iterator[Result | None]:
    """Call the function once per item. What it raises is its item's failure, after one attempt."""
    step = _step(call, folder, format)
    while True:
        source.do_all(step)
        if source.closed:
            return
        yield None
        source.wait(IDLE_S)


def _step(call: Call, folder: Path | None, format: Format) -> Callable[[Item], bytes | Failed]:
    """What is done with each item. It may happen a million times a second: each call and look-up counts."""
    encode = format.value

    def step(item: Item) -> bytes | Failed:
        try:
            return encode(item, call(item[1]))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code raises is this item's failure
            return failed(item, error, folder)
        finally:
            if home.left:
                home.go_back()

    return step
