"""The loop of an async function: many items of one child in flight at once, on one event loop and one thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

from sheaf.batch import Failed, Item, Result
from sheaf.formats import Format
from sheaf.tasks import Source
from sheaf.tasks.calls import Call
from sheaf.tasks.faults import FilesUsedUp, failed
from sheaf.tasks.loop import event_loop
from sheaf.tasks.patience import Patience
from sheaf.tasks.patient import encode
from sheaf.tasks.plain import IDLE_S
from sheaf.tasks.spec import TaskSpec

#: While more could be in flight, new items are looked for this often.
_LOOK_S = 0.01


class AsyncLoop:
    def __init__(self, call: Call, folder: Path | None, spec: TaskSpec, source: Source, format: Format) -> None:
        self._call = call
        self._folder = folder
        self._spec = spec
        self._patience = Patience.of(spec)
        self._source = source
        self._format = format
        self._loop = event_loop()
        self._changed = asyncio.Event()
        self._flying: set[asyncio.Task[None]] = set()
        #: How many of those only wait for their next attempt.
        self._resting = 0
        self._landed: list[Result] = []
        self._broken: FilesUsedUp | None = None
        self._abandoned = False

    def run(self) -> Iterator[Result | None]:
        try:
            while True:
                self._take_in()
                if self._flying or self._landed:
                    self._loop.run_until_complete(self._something_happens())
                    if self._broken is not None:
                        raise self._broken
                    landed, self._landed = self._landed, []
                    yield from landed
                    yield None
                elif self._source.closed:
                    return
                else:
                    yield None
                    self._source.wait(IDLE_S)
                    # What the user's code has running in the background gets its turn, too.
                    self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._abandon()

    def _take_in(self) -> None:
        while self._room and (item := self._source.take(0)) is not None:
            task = self._loop.create_task(self._attend(item))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)

    @property
    def _room(self) -> bool:
        return len(self._flying) - self._resting < self._spec.concurrency

    async def _something_happens(self) -> None:
        """Wait until an item is done, or it is time to look for new ones."""
        if self._landed:
            return
        self._changed.clear()
        look = self._loop.call_later(_LOOK_S if self._room else IDLE_S, self._changed.set)
        await self._changed.wait()
        look.cancel()

    async def _attend(self, item: Item) -> None:
        """See one item through all its attempts."""
        attempt = 1
        try:
            while isinstance(result := await self._try(item, attempt), Failed):
                pause_s = self._patience.pause_s(attempt)
                if pause_s is None:
                    break
                attempt += 1
                await self._rest(item, pause_s)
            self._landed.append(result)
        except FilesUsedUp as error:
            self._broken = error
        finally:
            self._changed.set()

    async def _try(self, item: Item, attempt: int) -> Result:
        limit = asyncio.timeout(self._spec.timeout_s)
        try:
            async with limit:
                value = self._call(item.text)
                if inspect.isawaitable(value):
                    value = await value
        except TimeoutError as error:
            if not limit.expired():
                return failed(item, error, self._folder, attempt)
            message = f"not finished within {self._spec.timeout_s:g} s; it was cancelled"
            return Failed(item.index, "TimedOut", message, attempt)
        except asyncio.CancelledError as error:
            if self._abandoned:
                raise
            return failed(item, error, self._folder, attempt)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code raises is this item's fault
            return failed(item, error, self._folder, attempt)
        return encode(item, value, self._format, self._folder, attempt)

    async def _rest(self, item: Item, pause_s: float) -> None:
        self._resting += 1
        self._changed.set()
        self._source.postpone(item.index, pause_s)
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._resting -= 1
        self._source.postpone(item.index, 0.0)

    def _abandon(self) -> None:
        """When something went wrong, or the program changes: nothing goes on behind our back."""
        self._abandoned = True
        for task in list(self._flying):
            task.cancel()
        if self._flying:
            self._loop.run_until_complete(asyncio.wait(self._flying, timeout=IDLE_S))
