"""The loop of an async function: many items of one child in flight at once, on one event loop and one thread."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Iterator
from pathlib import Path

from sheaf.formats import Format
from sheaf.run.items import TIMEOUT, Failed, Item, Result
from sheaf.tasks.decorator import TaskDeclaration
from sheaf.tasks.function.calls import Call
from sheaf.tasks.function.event_loop import event_loop
from sheaf.tasks.function.plain import IDLE_S
from sheaf.tasks.function.process_state import process_state
from sheaf.tasks.function.retrying import encode
from sheaf.tasks.protocol import Source
from sheaf.tasks.retry_policy import RetryPolicy
from sheaf.tasks.tracebacks import FilesUsedUp, failed

#: While more could be in flight, new items are looked for this often.
_LOOK_S = 0.01


class AsyncLoop:
    def __init__(
        self, call: Call, folder: Path | None, declared: TaskDeclaration, source: Source, format: Format
    ) -> None:
        self._call = call
        self._folder = folder
        self._declared = declared
        self._policy = RetryPolicy.of(declared)
        self._source = source
        self._format = format
        self._loop = event_loop()
        self._changed = asyncio.Event()
        self._flying: set[asyncio.Task[Result]] = set()
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
                    self._run_loop_once()
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
            task.add_done_callback(functools.partial(self._land, item))

    @property
    def _room(self) -> bool:
        return len(self._flying) - self._resting < self._declared.concurrency

    def _run_loop_once(self) -> None:
        """Let the items go on until one is done, or it is time to look for new ones.

        Raises what a task that the user's code has started beside them raises to end the loop (SystemExit).
        """
        waiting = self._loop.create_task(self._something_happens())
        try:
            self._loop.run_until_complete(waiting)
        except asyncio.CancelledError:
            pass  # the user's code has cancelled all there is; those of its items are settled as any other's
        finally:
            waiting.cancel()

    async def _something_happens(self) -> None:
        if self._landed:
            return
        self._changed.clear()
        look = self._loop.call_later(_LOOK_S if self._room else IDLE_S, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            look.cancel()

    async def _attend(self, item: Item) -> Result:
        """See one item through all its attempts."""
        process_state.separate()
        attempt = 1
        while isinstance(result := await self._try(item, attempt), Failed):
            pause_s = self._policy.pause_s(attempt)
            if pause_s is None:
                break
            attempt += 1
            await self._rest(item, pause_s)
        return result

    def _land(self, item: Item, task: asyncio.Task[Result]) -> None:
        """An item's task has ended, in whatever way: cancelled before it began, or while it rested, too."""
        self._flying.discard(task)
        self._changed.set()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._abandoned:
            return
        if isinstance(error, FilesUsedUp):
            self._broken = error
            return
        try:
            self._landed.append(task.result() if error is None else failed(item, error, self._folder))
        except FilesUsedUp as broken:
            self._broken = broken

    async def _try(self, item: Item, attempt: int) -> Result:
        limit = asyncio.timeout(self._declared.timeout_s)
        try:
            async with limit:
                value = self._call(item.text)
                while inspect.isawaitable(value):
                    value = await value
        except TimeoutError as error:
            if not limit.expired():
                return failed(item, error, self._folder, attempt)
            message = f"not finished within {self._declared.timeout_s:g} s; it was cancelled"
            return Failed(item.index, TIMEOUT, message, attempt)
        except BaseException as error:
            # Whatever the user's code raises is this item's fault.
            if self._abandoned:
                raise
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
        """When something went wrong, or the program changes: nothing keeps running unnoticed."""
        self._abandoned = True
        flying = list(self._flying)
        for task in flying:
            task.cancel()
        if flying:
            # What it raises is on its way already, or comes too late to be anybody's.
            with contextlib.suppress(BaseException):
                self._loop.run_until_complete(asyncio.wait(flying, timeout=IDLE_S))
