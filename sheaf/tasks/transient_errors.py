"""Errors of the system that may be over in a moment: what failed by one is retried before it counts."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sheaf.core.errors import TaskError
from sheaf.core.files import exists

_PASSING = frozenset(
    (errno.EIO, errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ESTALE)
)
#: How the loader of shared libraries names them, whose errors come as text only.
_PASSING_TEXTS = tuple(os.strerror(code) for code in _PASSING)
#: Seconds between two tries.
PAUSES_S = (0.1, 0.5, 2.0)
#: ... and between further tries, once the delay was announced: half a minute in total.
LONG_PAUSES_S = (2.0, 4.0, 8.0, 16.0)

T = TypeVar("T")


def again_if_passing(attempt: Callable[[], T], pauses_s: Sequence[float] | None = None) -> T:
    """Return what `attempt` returns; after an error that may pass, try again a few times. Raises the last one."""
    for pause_s in PAUSES_S if pauses_s is None else pauses_s:
        try:
            return attempt()
        except (OSError, ImportError, MemoryError, TaskError) as error:
            if not passes(error):
                raise
        time.sleep(pause_s)
        # What Python has found of modules meanwhile may be wrong, too: it takes a file that it cannot read for none.
        importlib.invalidate_caches()
    return attempt()


def passes(error: BaseException) -> bool:
    """Whether the error, or one that led to it, is of that kind."""
    link: BaseException | None = error
    for _ in range(10):
        if link is None:
            return False
        if isinstance(link, MemoryError) or (isinstance(link, OSError) and link.errno in _PASSING):
            return True
        if isinstance(link, ImportError) and (_is_refused(link) or _is_there(link)):
            return True
        link = link.__cause__ or link.__context__
    return False


def _is_refused(error: ImportError) -> bool:
    """Whether a shared library could not be loaded for want of something."""
    return error.path is not None and any(text in str(error) for text in _PASSING_TEXTS)


def _is_there(error: ImportError) -> bool:
    """Whether a module that Python did not find is there: what cannot be looked at is taken for missing."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return False
    importlib.invalidate_caches()
    with contextlib.suppress(ImportError, ValueError, OSError):
        if importlib.util.find_spec(error.name) is not None:
            return True
    # It may be that it cannot be looked at even now.
    return any(_may_hold(Path(folder), error.name) for folder in sys.path)


def _may_hold(folder: Path, module: str) -> bool:
    """Whether a folder has the module's file, or cannot say so at the moment."""
    stem = folder.joinpath(*module.split("."))
    try:
        return exists(stem.with_name(f"{stem.name}.py")) or exists(stem / "__init__.py")
    except OSError as error:
        return error.errno in _PASSING
    except ValueError:
        return False  # a name that no file can have
