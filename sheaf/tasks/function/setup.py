"""`setup`: what a task opens once per child (a model, a connection) and closes, if it says how, when the child ends."""

from __future__ import annotations

import atexit
import inspect
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sheaf.core.errors import TaskError
from sheaf.tasks.function.finder import Found
from sheaf.tasks.tracebacks import explain

#: Seconds before a setup that raised is tried again: a model server may be starting, too. Then the task is refused.
PAUSES_S = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class _Opened:
    setup: Callable[[], Any]
    gift: Any
    close: Callable[[], object]


#: By the task's name: what its setup has given in this child.
_opened: dict[str, _Opened] = {}


def opened(found: Found) -> tuple[Any, ...]:
    """Return the further arguments of the task's function: what its setup gave, or none. Opens it the first time.

    Raises TaskError with the traceback if setup raises again and again.
    """
    setup = found.declared.setup
    if setup is None:
        return ()
    known = _opened.get(found.name)
    if known is not None and known.setup is not setup:
        # The file has changed, and with it this function.
        _close(_opened.pop(found.name))
        known = None
    if known is None:
        if not _opened:
            atexit.register(close_all)
        known = _opened[found.name] = _open_patiently(found, setup)
    return (known.gift,)


def close_all() -> None:
    """Close what setups have opened, the newest first."""
    while _opened:
        _close(_opened.popitem()[1])


def _close(opened: _Opened) -> None:
    """What it raises concerns no item: it goes where prints go, and the next one is closed."""
    try:
        opened.close()
    except BaseException:  # noqa: BLE001 - it is the user's code
        traceback.print_exc()


def _open_patiently(found: Found, setup: Callable[[], Any]) -> _Opened:
    for pause_s in (*PAUSES_S, None):
        try:
            return _open(setup)
        except BaseException as error:
            if pause_s is None:
                raise TaskError(f"the setup of {found.name!r} raised {explain(error, found.folder)}") from error
        time.sleep(pause_s)
    raise AssertionError("the last pause is None")


def _open(setup: Callable[[], Any]) -> _Opened:
    """Call it. A generator function gives what it yields first; what follows is called at the end."""
    made = setup()
    if inspect.isgenerator(made):
        return _Opened(setup, next(made), lambda: next(made, None))
    if not inspect.isasyncgen(made) and not inspect.isawaitable(made):
        return _Opened(setup, made, lambda: None)
    # Only now: without need, a child does not carry asyncio.
    from sheaf.tasks.function import event_loop

    if inspect.isasyncgen(made):
        return _Opened(setup, event_loop.run(anext(made)), lambda: event_loop.run(anext(made, None)))
    return _Opened(setup, event_loop.run(made), lambda: None)
