"""The outputs that one process has open: each is opened when first needed, and only a few stay open."""

from __future__ import annotations

from pathlib import Path

from sheaf.core.files import exists
from sheaf.output.output import Output
from sheaf.run.sessions import SESSIONS

#: Outputs that stay open; of more, the least recently used one is closed.
OPEN_LIMIT = 16


def open_output(data_dir: Path, name: str, fence_wait_s: float = 30.0) -> Output:
    """An output by its path inside the data folder. Those of sessions end with their programs: they are not synced."""
    return Output(data_dir / name, fence_wait_s=fence_wait_s, durable=not name.startswith(f"{SESSIONS}/"))


class OutputCache:
    """For one thread."""

    def __init__(self, data_dir: Path, fence_wait_s: float = 30.0) -> None:
        self._data_dir = data_dir
        self._fence_wait_s = fence_wait_s
        self._open: dict[str, Output] = {}

    def get(self, name: str) -> Output:
        output = self._open.pop(name, None)
        if output is None:
            self._close_removed()
            output = open_output(self._data_dir, name, self._fence_wait_s)
        self._open[name] = output
        if len(self._open) > OPEN_LIMIT:
            self._open.pop(next(iter(self._open))).close()
        return output

    def _close_removed(self) -> None:
        """A program's output is removed with its session; while it is open, its disk space is not freed."""
        for name in [name for name in self._open if not exists(self._data_dir / name)]:
            self._open.pop(name).close()

    def close(self) -> None:
        for output in self._open.values():
            output.close()
        self._open.clear()
