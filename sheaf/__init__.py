"""Sheaf: many workers, one file, every result exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sheaf.api import Cluster
    from sheaf.errors import TaskFailed
    from sheaf.tasks.spec import task

__version__ = "0.1.0"
__all__ = ["Cluster", "TaskFailed", "task"]

#: What `from sheaf import …` offers, and where it is: imported when asked for, so that `import sheaf` costs nothing.
_PLACES = {"Cluster": "sheaf.api", "TaskFailed": "sheaf.errors", "task": "sheaf.tasks.spec"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'sheaf' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
