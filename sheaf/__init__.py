"""Sheaf: many workers, one file, every result exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sheaf.core.version import __version__

if TYPE_CHECKING:
    from sheaf.client import Cluster
    from sheaf.core.errors import TaskFailed
    from sheaf.tasks.decorator import task

__all__ = ["Cluster", "TaskFailed", "__version__", "task"]

#: What `from sheaf import …` offers, and where it is: imported when asked for, so that `import sheaf` costs nothing.
_PLACES = {"Cluster": "sheaf.client", "TaskFailed": "sheaf.core.errors", "task": "sheaf.tasks.decorator"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'sheaf' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
