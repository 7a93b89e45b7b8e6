"""The folders of programs: what ends leaves nothing behind, however late a worker is."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from sheaf.run.sessions import SESSIONS, create_session, remove_session


def names(data: Path) -> set[str]:
    return {path.name for path in (data / SESSIONS).iterdir()}


def test_a_worker_that_still_writes_leaves_nothing_behind(tmp_path: Path) -> None:
    """It marks a segment as finished, say, while the program removes its folder."""
    for number in range(30):
        folder, owner = create_session(tmp_path, f"session-20260101-{number}")
        for name in range(20):
            (folder / "runs" / str(name)).mkdir()
        ended = threading.Event()

        def write(runs: Path = folder / "runs", ended: threading.Event = ended) -> None:
            count = 0
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    count += 1
                    (runs / f"{count}").touch()

        worker = threading.Thread(target=write)
        worker.start()
        remove_session(folder)
        os.close(owner)
        ended.set()
        worker.join()

    assert names(tmp_path) == {".lock"}


def test_what_a_killed_program_was_removing_is_swept_away(tmp_path: Path) -> None:
    """The next program does it."""
    folder, owner = create_session(tmp_path, "session-20260101-1")
    folder.rename(folder.with_name(f".{folder.name}"))
    os.close(owner)

    _, owner = create_session(tmp_path, "session-20260101-2")
    os.close(owner)

    assert names(tmp_path) == {".lock", "session-20260101-2"}
