"""Values that have to be awaited, of functions that do not look like it: a plain one that returns a coroutine, say."""

from __future__ import annotations

import inspect

is_awaitable = inspect.isawaitable


def settled(value: object) -> object:
    """Return the value; what has to be awaited is, on the one event loop of the child."""
    while is_awaitable(value):
        # Only now: without need, a child does not carry asyncio.
        from sheaf.tasks.function import event_loop

        value = event_loop.run(value)
    return value
