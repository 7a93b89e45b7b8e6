"""A run being written: hidden, swept away if its writer dies, published by one writer at a time."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from sheaf.core.errors import UsageError
from sheaf.core.file_locks import lock_folder
from sheaf.core.files import exists, is_dir
from sheaf.run.run import RunWriter, submission_lock
from sheaf.submission.tally import EXAMPLES, Line, Tally


def new_run_name() -> str:
    """The moment (UTC; its fraction of a second in hex) and four random hex digits: sorts by age, never comes twice."""
    now = time.time()
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{int(now % 1 * 0x10000):04x}{secrets.token_hex(2)}"


def check_data_dir(data_dir: Path) -> None:
    """Raise UsageError if the data folder is not there, or is not ours to write to."""
    if not os.access(data_dir, os.W_OK | os.X_OK):
        wrong = "cannot be written to by this user" if is_dir(data_dir) else "does not exist"
        raise UsageError(
            f"the data folder {data_dir.absolute()} {wrong}; is the volume mounted here? "
            "Choose another with --data or SHEAF_DATA_DIR"
        )


class Draft:
    """Holds `writer`, which writes into a hidden folder; what is not published when the context ends is gone.

    A draft's folder is locked for as long as its writer lives, so the next draft can tell those of killed writers.
    """

    def __init__(self, data_dir: Path) -> None:
        self.run = new_run_name()
        self.tally = Tally()
        #: Where what was in the output has been put, if the run takes its place.
        self.set_aside: Path | None = None
        self._data_dir = data_dir
        self._lock: int | None = None
        self._rejects: TextIO | None = None
        self.writer: RunWriter

    @property
    def folder(self) -> Path:
        return self.writer.folder

    def __enter__(self) -> Self:
        check_data_dir(self._data_dir)
        with submission_lock(self._data_dir):
            self._sweep()
            self.writer = RunWriter(self._data_dir, self.run)
            self._lock = lock_folder(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        if exists(self.folder):
            self.writer.discard()
        if self._lock is not None:
            os.close(self._lock)

    def reject(self, line: Line) -> None:
        """Note a line that cannot be used: in the run's folder, and the first few for the terminal."""
        if self._rejects is None:
            # A name may hold bytes that are not UTF-8: as `\udce9`, which is what JSON calls them, too.
            path = self.folder / "rejected.jsonl"
            self._rejects = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  see settle()
        tally = self.tally
        tally.rejected += line.lines
        if len(tally.examples) < EXAMPLES:
            tally.shown_lines += line.lines
            tally.examples.append(f"line {line.number} of {line.source}: {line.problem}")
        entry = {"source": line.source, "line": line.number, "text": line.text[:1000], "why": line.problem}
        entry |= {"lines": line.lines} if line.lines > 1 else {}
        self._rejects.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def settle(self) -> None:
        """All items are written and what was rejected is on the volume."""
        if self._rejects is not None:
            self._rejects.close()
            self._rejects = None

    def _sweep(self) -> None:
        """Remove the drafts of producers that were killed."""
        for folder in (self._data_dir / "runs").glob(".*-*"):
            lock = lock_folder(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
