"""Where a child works: a task that changes the working directory does so for one item, not for the next ones."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class _Home:
    def __init__(self) -> None:
        #: Whether somebody has left since we were last there.
        self.left = False
        self._path: str | None = None

    def watch(self) -> None:
        """Notice, from now on, when this process's working directory is changed. To look each time would cost more."""
        if self._path is None:
            self._path = str(Path.cwd())
            for name in ("chdir", "fchdir"):
                setattr(os, name, self._noticing(getattr(os, name)))

    def go_back(self) -> None:
        if self._path is not None:
            # It may have been removed in the meantime; then nobody can be there.
            with contextlib.suppress(OSError):
                os.chdir(self._path)
        self.left = False

    def _noticing(self, change: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(change)
        def noticing(*arguments: Any, **named: Any) -> None:
            self.left = True
            change(*arguments, **named)

        return noticing


home = _Home()
watch = home.watch
