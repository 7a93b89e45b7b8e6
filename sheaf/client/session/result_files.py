"""A session's outputs, one after another: each is removed when it has become large and all of it was read."""

from __future__ import annotations

from pathlib import Path

from sheaf.client.session.results import ResultFile
from sheaf.output.cache import open_output
from sheaf.output.output import Output
from sheaf.run.run import Manifest
from sheaf.run.sessions import SESSIONS, share

#: After so many bytes, or so many segments (the index has rows for each), the next part is begun.
PART_BYTES, PART_SEGMENTS = 64 << 20, 2000


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
        """The part that the next segment goes to."""
        if self.current.bytes > PART_BYTES or self.current.sent >= PART_SEGMENTS:
            self._output.close()
            self.current.last = True
            self._begin()
        return self.current

    def register(self, manifest: Manifest) -> None:
        """Make a segment known to the part that it goes to."""
        self._output.register_run(manifest.run, manifest.items, manifest.batch_size)
        self.current.sent += 1
        self.current.open.add(manifest.run)

    def close(self) -> None:
        self._output.close()
        self.current.close()
