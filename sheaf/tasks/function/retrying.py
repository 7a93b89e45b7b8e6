"""The loop of a plain function whose items are tried several times: while one waits for its next try, others go on."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from sheaf.formats import Format
from sheaf.run.items import Done, Failed, Item, Result
from sheaf.tasks.function.awaitables import settled
from sheaf.tasks.function.calls import Call
from sheaf.tasks.function.plain import IDLE_S
from sheaf.tasks.function.process_state import process_state
from sheaf.tasks.protocol import Source
from sheaf.tasks.retry_policy import RetryPolicy
from sheaf.tasks.tracebacks import failed

#: Items that a child wants outstanding: those that wait for their next try must not keep others from coming.
WINDOW = 256


class PatientLoop:
    def __init__(self, call: Call, folder: Path | None, policy: RetryPolicy, format: Format) -> None:
        self._call = call
        self._folder = folder
        self._policy = policy
        self._format = format
        #: When the next try is due, in which order they came, the item, and which try that will be.
        self._resting: list[tuple[float, int, Item, int]] = []
        self._counter = itertools.count()

    def run(self, source: Source) -> Iterator[Result | None]:
        while True:
            item, attempt = self._next(source)
            if item is not None:
                result = self._try(item, attempt, source)
                if process_state.left:
                    process_state.go_back()
                if result is not None:
                    yield result
                continue
            if source.closed and not self._resting:
                return
            yield None
            self._wait(source)

    def _next(self, source: Source) -> tuple[Item | None, int]:
        """The item that is due again, else a new one; and which try it is."""
        if self._resting and self._resting[0][0] <= time.monotonic():
            _, _, item, attempt = heapq.heappop(self._resting)
            source.postpone(item.index, 0.0)
            return item, attempt
        return source.take(0), 1

    def _try(self, item: Item, attempt: int, source: Source) -> Result | None:
        """Call the function; None: it raised, and the item is put aside for its next try."""
        try:
            value = settled(self._call(item.text))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is this item's fault
            failure = failed(item, error, self._folder, attempt)
            pause_s = self._policy.pause_s(attempt)
            if pause_s is None:
                return failure
            source.postpone(item.index, pause_s)
            heapq.heappush(self._resting, (time.monotonic() + pause_s, next(self._counter), item, attempt + 1))
            return None
        return encode(item, value, self._format, self._folder, attempt)

    def _wait(self, source: Source) -> None:
        if not self._resting:
            source.wait(IDLE_S)
            return
        until_s = min(IDLE_S, max(0.0, self._resting[0][0] - time.monotonic()))
        if source.closed:
            time.sleep(until_s)
        else:
            source.wait(until_s)


def encode(item: Item, value: object, format: Format, folder: Path | None, attempt: int = 1) -> Done | Failed:
    """Make the item's record of what the function gave; a value that cannot be one is not tried again."""
    try:
        return Done(item.index, format.value(*item, value))
    except BaseException as error:  # noqa: BLE001 - a value's own methods may raise anything
        return failed(item, error, folder, attempt)
