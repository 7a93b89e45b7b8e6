"""Knows while a task's file is being imported: code outside its functions runs then, in every worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sheaf.core.errors import TaskError

#: The files that are being imported, the innermost last.
_files: list[Path] = []


@contextmanager
def importing(file: Path) -> Iterator[None]:
    """Tell refuse_while_importing() of it."""
    _files.append(file)
    try:
        yield
    finally:
        _files.pop()


def refuse_while_importing(what: str) -> None:
    """Raise TaskError, which names file and line, if a task's file is being imported and so calls the cluster.

    `what` is the call, for people. Without this each import would start another cluster, which imports the file, …
    """
    if not _files:
        return
    file = _files[-1]
    line = _line_of(file, sys._getframe(1))
    raise TaskError(
        f"{file}{f', line {line},' if line else ''} calls {what} whenever the file is imported, and workers import it "
        'to find its functions; put that part of the script under `if __name__ == "__main__":`'
    )


def _line_of(file: Path, frame: FrameType | None) -> int:
    """The line of the file, outside its functions, that is being executed; 0: none is to be seen."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and Path(frame.f_code.co_filename) == file:
            return frame.f_lineno
        frame = frame.f_back
    return 0
