"""Errors of the system that may be over in a moment: what failed by one is tried again before anybody is blamed."""

from __future__ import annotations

import errno
import importlib
import time
from collections.abc import Callable
from typing import TypeVar

from sheaf.errors import TaskError

_PASSING = frozenset((errno.EIO, errno.EAGAIN, errno.EINTR, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ESTALE))
#: Seconds between two tries.
PAUSES_S = (0.1, 0.5, 2.0)

T = TypeVar("T")


def again_if_passing(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; after an error that may pass, try again a few times. Raises the last one."""
    for pause_s in PAUSES_S:
        try:
            return attempt()
        except (OSError, TaskError) as error:
            if not _passes(error):
                raise
        time.sleep(pause_s)
        # What Python has found of modules meanwhile may be wrong, too: it takes a file that it cannot read for none.
        importlib.invalidate_caches()
    return attempt()


def _passes(error: BaseException | None) -> bool:
    """Whether the error, or one that led to it, is of that kind."""
    for _ in range(10):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        error = error.__cause__ or error.__context__
    return False
