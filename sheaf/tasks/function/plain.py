"""The loop of a plain function: item in, result out, one after another. Everything slow is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sheaf.formats import Format
from sheaf.run.items import Failed, Item, Result
from sheaf.tasks.function.awaitables import is_awaitable, settled
from sheaf.tasks.function.calls import Call, NumberCall
from sheaf.tasks.function.process_state import process_state
from sheaf.tasks.protocol import Pair, Source, Step
from sheaf.tasks.tracebacks import failed

#: How long a child waits for the next item before it takes an idle turn.
IDLE_S = 1.0


def run_plain(
    call: Call, number_call: NumberCall, folder: Path | None, source: Source, format: Format
) -> Iterator[Result | None]:
    """Call the function once per item. What it raises is its item's failure, after one attempt."""
    step = _step(call, number_call, folder, format)
    while True:
        source.do_all(step)
        if source.closed:
            return
        yield None
        source.wait(IDLE_S)


def _step(call: Call, number_call: NumberCall, folder: Path | None, format: Format) -> Step:
    """What is done with each item. It may happen a million times a second: each call and look-up counts."""
    encode = format.value

    def awaited(pair: Pair, value: object) -> bytes | Failed:
        try:
            return encode(*pair, settled(value))
        except BaseException as error:  # noqa: BLE001 - as below
            return failed(Item(pair[0], str(pair[1])), error, folder)

    def step(pair: Pair) -> bytes | Failed:
        index, text = pair
        value = None
        try:
            value = number_call(text) if type(text) is int else call(text)  # type: ignore[arg-type]
            return encode(index, text, value)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is this item's failure
            if is_awaitable(value):
                return awaited(pair, value)
            return failed(Item(index, str(text)), error, folder)
        finally:
            if process_state.left:
                process_state.go_back()

    return step
