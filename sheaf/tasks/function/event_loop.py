"""The one event loop of a child: what an async setup has opened on it serves all async items after it."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop; made when it is first asked for, closed when the process ends."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner.get_loop()


def run(awaitable: Awaitable[T]) -> T:
    """Run the loop until this is done. Not from within the loop."""
    return event_loop().run_until_complete(_awaited(awaitable))


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
