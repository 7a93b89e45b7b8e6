"""A cluster of processes in a scratch folder, made to be killed: Redis, workers, producers, and who restarts them."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import redis

from sheaf.broker.connection import connect
from sheaf.chaos.plan import Leases
from sheaf.core.settings import Settings, child_environment
from sheaf.embedded.redis_server import find_redis_server, redis_command

#: Seconds until something dead is started again, as a supervisor would.
RESTART_S = 0.15
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends, however that ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_process(
    command: Sequence[str], folder: Path, environment: dict[str, str] | None, log: Path
) -> subprocess.Popen[bytes]:
    """Start a process that writes to a log and ends when we do; without an environment of its own, in ours."""
    with open(log, "ab") as stream:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=end_with_parent,  # noqa: PLW1509  a trial's process has one thread
        )


class RedisServer:
    """A redis-server with an append-only file that is synced once a second."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder / "redis"
        self._folder.mkdir()
        self._environment = environment
        # The path of a unix socket must be shorter than 108 bytes, whatever folder the user chose.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="sheaf-torture-"))
        socket = self._socket_folder / "s"
        self.url = f"unix://{socket}"
        self._command = redis_command(find_redis_server(), socket, self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        #: Whether its log of commands was damaged, so that it may not start on it.
        self._damaged = False
        #: When (monotonic) it may be started again.
        self.down_until = 0.0
        #: How often it was started, and when (monotonic) it first answered after the last time.
        self.starts = 0
        self.started_at = 0.0
        self.client = connect(Settings(redis_url=self.url), timeout_s=2.0)

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._process = start_process(self._command, self._folder, self._environment, self._folder / "log")
        deadline = time.monotonic() + 20
        while True:
            try:
                self.client.ping()
                self.starts += 1
                self.started_at = time.monotonic()
                return
            except redis.exceptions.RedisError:
                if self._damaged and self._process.poll() is not None:
                    # What it kept cannot be read: a person, or `sheaf up`, puts it aside.
                    self._damaged = False
                    self.forget_everything()
                    self._process = start_process(self._command, self._folder, self._environment, self._folder / "log")
                elif time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def lose_end(self, size_bytes: int) -> bool:
        """Cut this many bytes off the end of the dead server's log of commands; False if there is none."""
        # One file up to Redis 6; later a folder with a base, a manifest, and the logs, of which the last one grows.
        logs = sorted(self._folder.rglob("*.aof"), key=lambda path: path.stat().st_mtime_ns)
        if not logs:
            return False
        os.truncate(logs[-1], max(0, logs[-1].stat().st_size - size_bytes))
        return True

    def damage(self, where: float) -> bool:
        """Change one bit of the dead server's log of commands, that far from its beginning; False if there is none."""
        logs = sorted(self._folder.rglob("*.aof"), key=lambda path: path.stat().st_mtime_ns)
        content = bytearray(logs[-1].read_bytes()) if logs else bytearray()
        if not content:
            return False
        content[int(where * len(content))] ^= 4
        logs[-1].write_bytes(content)
        self._damaged = True
        return True

    def forget_everything(self) -> None:
        """Remove what the dead server has written."""
        for path in self._folder.rglob("*.aof*"):
            if path.is_file():
                path.unlink()

    def close(self) -> None:
        self.kill()
        self.client.close()
        shutil.rmtree(self._socket_folder, ignore_errors=True)


@dataclasses.dataclass(slots=True)
class Slot:
    """A place for a worker; who is in it changes as they are killed."""

    number: int
    process: subprocess.Popen[bytes]
    label: str
    #: How often a worker was started here.
    starts: int = 1
    #: Whether we asked for its end, by whichever signal.
    ending: bool = False
    #: Whether it (or its whole family) is stopped.
    stopped: bool = False
    start_at: float | None = None


class Shape(Protocol):
    """How many there are. Fields that are called as a setting are that setting's value."""

    @property
    def workers(self) -> int: ...
    @property
    def pool(self) -> int: ...
    @property
    def leases(self) -> Leases: ...


class Cluster:
    """Redis, the workers and the producers of one trial. Whatever dies is started again by `supervise()`."""

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        worker_module: Sequence[str],
        wrap: Callable[[str, list[str]], list[str]] | None = None,
    ) -> None:
        """`wrap` makes of a worker's label and command the command that is run."""
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        (folder / "tasks").mkdir(exist_ok=True)
        self._workers = shape.workers
        self._worker_module = worker_module
        self._wrap = wrap
        #: What workers are started in, and what commands are.
        self._worker_environment: dict[str, str] = {}
        self.environment = _environment(shape, self.data)
        self.redis = RedisServer(folder, self.environment)
        self.environment["SHEAF_REDIS_URL"] = self.redis.url
        self.slots: list[Slot] = []
        self.producers: list[subprocess.Popen[bytes]] = []
        #: Exit statuses of workers that were not asked to end.
        self.unexpected_exits: list[str] = []

    def start(self) -> None:
        self.redis.start()
        self.start_workers()

    def point_workers_at(self, url: str) -> None:
        """Let only the workers find Redis there."""
        self._worker_environment["SHEAF_REDIS_URL"] = url

    def start_workers(self) -> None:
        for number in range(self._workers):
            label = f"w{number}x1"
            self.slots.append(Slot(number, self._start_worker(label), label))

    def _start_worker(self, label: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *self._worker_module]
        if self._wrap is not None:
            command = self._wrap(label, command)
        environment = {**self.environment, **self._worker_environment, "SHEAF_LABEL": label}
        return start_process(command, self.folder, environment, self.log_of(label))

    def log_of(self, label: str) -> Path:
        return self.folder / f"worker-{label}.log"

    def produce(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of `sheaf`, as a person would."""
        command = [sys.executable, "-c", "from sheaf.cli.main import main; main()", *arguments]
        process = start_process(command, self.folder, self.environment, self.folder / "producer.log")
        self.producers.append(process)
        return process

    def supervise(self, now: float) -> None:
        """Start again what has died."""
        if not self.redis.running and now >= self.redis.down_until:
            self.redis.start()
        for slot in self.slots:
            status = slot.process.poll()
            if status is None:
                continue
            if slot.start_at is None:
                if not slot.ending:
                    self.unexpected_exits.append(f"{slot.label}: status {status}")
                slot.start_at = now + RESTART_S
            elif now >= slot.start_at:
                slot.starts += 1
                slot.label = f"w{slot.number}x{slot.starts}"
                slot.process = self._start_worker(slot.label)
                slot.ending = slot.stopped = False
                slot.start_at = None

    def living(self) -> list[Slot]:
        """The workers that are alive and awake."""
        return [slot for slot in self.slots if slot.process.poll() is None and not slot.stopped]

    def end_workers(self, within_s: float) -> None:
        """Ask all workers to end, kill those that do not."""
        for slot in self.slots:
            slot.ending = True
            if slot.process.poll() is None:
                slot.process.send_signal(signal.SIGCONT)
                slot.process.terminate()
        deadline = time.monotonic() + within_s
        for slot in self.slots:
            try:
                slot.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                doing = what_it_does(slot.process.pid)
                self.unexpected_exits.append(f"{slot.label}: did not end within {within_s} s of SIGTERM; {doing}")
                slot.process.kill()
                slot.process.wait()

    def close(self) -> None:
        for process in [*(slot.process for slot in self.slots), *self.producers]:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.redis.close()


def what_it_does(pid: int) -> str:
    """Say what each thread of a process waits for, to find out why it does not end."""
    threads = []
    for thread in sorted(Path(f"/proc/{pid}/task").glob("*")):
        try:
            name, wait = (thread / "comm").read_text(encoding="utf-8").strip(), (thread / "wchan").read_text().strip()
            fields = (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        threads.append(f"{name} {fields[0]} {wait} ({int(fields[11]) + int(fields[12])} ticks)")
    return "its threads: " + ", ".join(threads)


def _environment(shape: Shape, data: Path) -> dict[str, str]:
    """This process's environment, with every setting of ours replaced by the shape's."""
    changes: dict[str, str | None] = {}
    for field in dataclasses.fields(Settings):
        variable = f"SHEAF_{field.name.upper()}"
        value = getattr(shape.leases, field.name, getattr(shape, field.name, None))
        changes[variable] = None if value is None else str(value)
        changes[f"{variable}_FILE"] = None
    changes["SHEAF_DATA_DIR"] = str(data)
    changes["SHEAF_TASKS_DIR"] = str(data.with_name("tasks"))
    changes["SHEAF_POOL_SIZE"] = str(shape.pool)
    changes["SHEAF_GRACE_S"] = "5"
    return child_environment(changes)
