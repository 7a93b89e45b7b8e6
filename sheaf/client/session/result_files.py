"""A session's outputs, one after another: a large one is removed once all of it was read."""

from __future__ import annotations

from pathlib import Path

from sheaf.client.session.results import ResultFile
from sheaf.output.cache import open_output
from sheaf.output.output import Output
from sheaf.run.run import Manifest
from sheaf.run.sessions import SESSIONS, share

#: The next file is begun after this many bytes or segments (each segment has rows in the index).
FILE_BYTES, FILE_SEGMENTS = 64 << 20, 2000


class ResultFiles:
    """For the thread that sends."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        self._data_dir = data_dir
        self._folder = folder
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        self._number += 1
        name = f"{SESSIONS}/{self._folder.name}/results-{self._number}.jsonl"
        path = self._data_dir / name
        self._output = Output.create(path, durable=False)
        for suffix in ("", ".index", ".index-wal", ".index-shm", ".intent"):
            share(path.with_name(f"{path.name}{suffix}"))
        self.current = ResultFile(name, open_output(self._data_dir, name))

    def next(self) -> ResultFile:
        """The file that the next segment's results go to."""
        if self.current.bytes > FILE_BYTES or self.current.sent >= FILE_SEGMENTS:
            self._output.close()
            self.current.last = True
            self._begin()
        return self.current

    def register(self, manifest: Manifest) -> None:
        """Make a segment known to its file."""
        self._output.register_run(manifest.run, manifest.items, manifest.batch_size)
        self.current.sent += 1
        self.current.open.add(manifest.run)

    def close(self) -> None:
        self._output.close()
        self.current.close()
