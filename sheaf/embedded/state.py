"""What `DATA/.sheaf/` says about the embedded cluster: who runs, how to reach Redis, how many workers are wanted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sheaf.broker.connection import CLUSTER_FILE
from sheaf.core.errors import UsageError
from sheaf.core.file_locks import lock_file
from sheaf.core.files import is_dir
from sheaf.core.humanize import seconds_text
from sheaf.embedded.processes import ProcessId

#: How the folder of Redis's socket is called, in the system's folder for temporary files.
SOCKET_FOLDER_PREFIX = "sheaf-"
#: Workers of one embedded cluster at most.
MOST_WORKERS = 256
#: Seconds for which the supervisor's actions are shown, and how many of them.
NEWS_S, NEWS = 3600.0, 5


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one data folder's embedded cluster."""

    data_dir: Path

    @property
    def folder(self) -> Path:
        return self.data_dir / ".sheaf"

    @property
    def cluster(self) -> Path:
        return self.data_dir / CLUSTER_FILE

    @property
    def workers(self) -> Path:
        return self.folder / "workers"

    @property
    def redis(self) -> Path:
        return self.folder / "redis"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def make(self) -> None:
        """Make the data folder and ours in it. Raises UsageError if that is not possible."""
        try:
            self.redis.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o664))
        except OSError as error:
            raise UsageError(
                f"the data folder {self.data_dir} cannot be used: {error.strerror} ({error.filename}); "
                "choose another with --data or SHEAF_DATA_DIR"
            ) from error

    def lock(self) -> int | None:
        """Take the supervisor's lock, held until the descriptor is closed or its process ends; None if it is taken."""
        return lock_file(self.folder / "lock")

    @property
    def locked(self) -> bool:
        """Whether a supervisor is alive, on whichever side of a container's wall."""
        if not is_dir(self.folder):
            return False
        descriptor = self.lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def wanted_workers(self) -> int:
        """Raises ValueError if the file says nothing sensible."""
        count = int(self.workers.read_text(encoding="utf-8"))
        if not 0 <= count <= MOST_WORKERS:
            raise ValueError(f"{self.workers} says {count} workers")
        return count

    def want_workers(self, count: int) -> None:
        replace_text(self.workers, f"{count}\n")


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What the supervisor last wrote to `cluster.json`."""

    redis_url: str
    supervisor: ProcessId
    #: Redis and the workers, by name.
    processes: dict[str, ProcessId] = field(default_factory=dict)
    #: What is wrong now, and what the supervisor has done about such things, with the time (seconds since 1970).
    troubles: tuple[str, ...] = ()
    events: tuple[tuple[float, str], ...] = ()

    @classmethod
    def read(cls, places: Places) -> Self | None:
        """None if there is none, or it was cut short by a crash of the machine."""
        try:
            values = json.loads(places.cluster.read_text(encoding="utf-8"))
            processes = {name: ProcessId(*each) for name, each in values["processes"].items()}
            # An older supervisor does not tell.
            troubles = tuple(str(text) for text in values.get("troubles", ()))
            events = tuple((float(moment), str(text)) for moment, text in values.get("events", ()))
            return cls(values["redis_url"], ProcessId(*values["supervisor"]), processes, troubles, events)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, places: Places) -> None:
        replace_text(places.cluster, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    def remove_socket(self) -> None:
        """Remove what a killed supervisor could not: the private folder with Redis's socket."""
        socket = Path(self.redis_url.removeprefix("unix://"))
        # No more than that, and only if it is one of ours: the address was read from a file.
        if socket.parent.name.startswith(SOCKET_FOLDER_PREFIX):
            with contextlib.suppress(OSError):
                for file in (socket, *socket.parent.glob("*.health")):
                    file.unlink(missing_ok=True)
                socket.parent.rmdir()

    def news(self) -> list[str]:
        """What is wrong, and what was done within the last hour, the latest first; for people."""
        now = time.time()
        recent = [(now - moment, text) for moment, text in self.events if now - moment < NEWS_S]
        return [*self.troubles, *(f"{text} ({seconds_text(max(0.0, ago))} ago)" for ago, text in reversed(recent))][
            :NEWS
        ]

    def workers(self) -> dict[str, ProcessId]:
        return {name: process for name, process in self.processes.items() if name.startswith("worker-")}


def replace_text(path: Path, text: str) -> None:
    """Write a file so that half of it is never read."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def tail(path: Path, lines: int = 12) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
