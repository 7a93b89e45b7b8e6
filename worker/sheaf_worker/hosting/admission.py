"""What may be started: what its program has signed, once, with the files that it has signed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from sheaf.broker.program_processes import ProcessId
from sheaf.core.errors import ProcessRefused
from sheaf.core.settings import Settings
from sheaf.multiprocessing import code
from sheaf.multiprocessing.folder import CODE, folder_of, take_start
from sheaf.multiprocessing.starts import Start, read_start
from sheaf.run.signatures import ClusterKey


class Admitted(NamedTuple):
    """A process that may be run."""

    start: Start
    #: What it gets: `main.py` reads it.
    message: bytes


class Admission:
    """Reads and checks starts. The key is read each time: a worker that began before its key was there recovers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def admit(self, process: ProcessId) -> Admitted:
        """Take the start of a process from the volume. Raises ProcessRefused, SettingsError or OSError.

        Only one worker ever gets it, so that nothing is started twice, whatever Redis says.
        """
        folder = folder_of(self._settings.data_dir, process.program)
        file = take_start(folder, process.process)
        if file is None:
            raise ProcessRefused(
                f"there is nothing to run for process {process.process}: its program has ended, or it was begun already"
            )
        key = ClusterKey.of(self._settings).secret_of(process.program)
        start, payload = read_start(file, key, *process)
        copies = folder / CODE
        code.check(start.code, copies)
        root = str((copies / start.code.copy).absolute()) if start.code.copy else None
        return Admitted(start, _message(start, payload, key, root, self._settings.data_dir))


def _message(start: Start, payload: bytes, key: bytes, root: str | None, data_dir: Path) -> bytes:
    head = {
        "program": start.program,
        "process": start.process,
        "name": start.name,
        "parent": start.parent,
        "daemon": start.daemon,
        "argv": start.argv,
        "environment": start.environment,
        "folder": start.folder or os.fspath(data_dir.absolute()),
        "main": str(Path(root, start.code.main)) if root and start.code.main else start.code.main,
        "main_name": start.code.main_name,
        "modules": start.code.modules,
        "path": [root] if root else start.code.path,
        "copied": root is not None,
        "key": key.hex(),
    }
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + payload
