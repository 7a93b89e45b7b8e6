"""What a worker or supervisor said when it broke: kept on the volume, so that `sheaf status` shows it afterwards.

One small file per worker's name, `.sheaf/last-words/NAME.json`. Its room is reserved when the worker starts, and it is
written in place: a full disk is no time to be silent.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from sheaf.core.files import exists

FOLDER = Path(".sheaf/last-words")
#: Bytes of a file, and characters of a cause that are kept.
_BYTES, _CAUSE_CHARS = 4096, 600
#: Seconds for which the end of a worker is news, and after which its file is removed.
NEWS_S, KEPT_S = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that ended without having been asked to."""

    label: str
    worker: str
    pid: int
    #: What broke, in one line.
    cause: str
    #: Seconds since then.
    ago_s: float
    #: How often a worker of that name has broken, each time within an hour of the time before.
    times: int


class LastWords:
    """The writer's side. Nothing here raises: its callers have something worse to report."""

    def __init__(self, data_dir: Path, label: str) -> None:
        self._path = data_dir / FOLDER / f"{re.sub('[^A-Za-z0-9._-]', '_', label)[:100]}.json"
        self._label = label

    def reserve(self) -> None:
        """Take the room now. What a worker of the same name has said before stays."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for old in self._path.parent.glob("*.json"):
                if time.time() - old.stat().st_mtime > KEPT_S:
                    old.unlink(missing_ok=True)
            if not exists(self._path):
                self._write("")

    def say(self, worker: str, cause: str) -> None:
        """Write down why this process ends."""
        before = _read(self._path)
        times = before.times + 1 if before is not None and before.ago_s < NEWS_S else 1
        words = {
            "label": self._label[:200],
            "worker": worker[:300],
            "pid": os.getpid(),
            "moment": time.time(),
            "times": times,
            "cause": _plain(cause),
        }
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write(json.dumps(words))

    def release(self) -> None:
        """The worker ends as it should: remove the file, unless an earlier one has said something."""
        with contextlib.suppress(OSError):
            if _read(self._path) is None:
                self._path.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        # In place, and never shorter: the blocks that are there already can be written to when the disk is full.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:
            os.pwrite(descriptor, text.encode()[:_BYTES].ljust(_BYTES), 0)
        finally:
            os.close(descriptor)


def cause_of(error: BaseException) -> str:
    """An exception in one line, whatever its text does."""
    try:
        return traceback.format_exception_only(error)[-1].strip()
    except BaseException:  # noqa: BLE001  its name has to do
        return type(error).__name__


def last_words(data_dir: Path) -> list[Death]:
    """The workers that broke within the last hour, the latest first."""
    try:
        paths = list((data_dir / FOLDER).glob("*.json"))
    except OSError:
        return []
    found = [death for death in map(_read, paths) if death is not None and death.ago_s < NEWS_S]
    return sorted(found, key=lambda death: death.ago_s)


def _read(path: Path) -> Death | None:
    """None if nothing was said, or the file holds something else."""
    try:
        with open(path, "rb") as file:
            words = json.loads(file.read(_BYTES))
        return Death(
            label=str(words["label"]),
            worker=str(words["worker"]),
            pid=int(words["pid"]),
            cause=_plain(str(words["cause"])),
            ago_s=max(0.0, time.time() - float(words["moment"])),
            times=int(words["times"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _plain(text: str) -> str:
    """One line that no terminal takes for a command. An exception's text may hold anything."""
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in line)[:_CAUSE_CHARS]
