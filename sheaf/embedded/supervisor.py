"""Keeps the embedded cluster's processes alive, and ends them in the right order."""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import redis

from sheaf.embedded.child import Child
from sheaf.embedded.processes import identify, stop
from sheaf.embedded.redis_server import find_redis_server, redis_command
from sheaf.embedded.state import SOCKET_FOLDER_PREFIX, ClusterState, Places, tail
from sheaf.errors import RedisUnavailable
from sheaf.settings import Settings, child_environment

logger = logging.getLogger(__name__)

#: Seconds that Redis may take to load what it kept.
REDIS_START_S = 60.0
#: Seconds on top of a worker's grace period before it is killed.
PATIENCE_S = 10.0
#: Seconds between two looks when no signal comes: for a data folder that somebody has removed.
LOOK_S = 5.0
#: A unix socket's path holds at most 107 bytes; ours adds "/redis.sock" to the folder's.
_FOLDER_PATH_LIMIT = 90


class Supervisor:
    """Runs until SIGTERM or SIGINT. SIGHUP makes it look at the wanted number of workers at once."""

    def __init__(self, settings: Settings, places: Places, ends_with: int | None = None) -> None:
        """`ends_with`: the pid of a process whose end is ours too."""
        self._settings = settings
        self._places = places
        self._stop_asked = False
        self._ends_with = None if ends_with is None else _open_process(ends_with)
        self._socket_folder = _private_folder()
        socket = self._socket_folder / "redis.sock"
        self._url = f"unix://{socket}"
        command = redis_command(find_redis_server(), socket, places.redis)
        self._redis = Child("redis", command, child_environment({}), places.log("redis"))
        self._workers: dict[str, Child] = {}
        #: Whether cluster.json says who runs now.
        self._written = False

    def run(self) -> None:
        """Start everything, keep it alive, end it when told to. The caller holds the supervisor's lock."""
        wake = _wake_on_signals(self._on_signal)
        watched = [] if self._ends_with is None else [self._ends_with]
        try:
            self._stop_leftovers()
            self._start_redis()
            while not self._stop_asked:
                self._look()
                awake = select.select([wake, *watched], [], [], self._nap_s())[0]
                if wake in awake:
                    os.read(wake, 4096)
                # Whoever has started us is gone.
                self._stop_asked |= self._ends_with in awake
        finally:
            self._end()

    def _end(self) -> None:
        """End the workers, which commit or hand back what they have, then Redis."""
        logger.info("cluster stops", extra={"action": "stop"})
        workers = [child.identity for child in self._workers.values() if child.identity is not None]
        for child in (*self._workers.values(), self._redis):
            child.dismissed = True
        # Ended children stay in the process table until they are reaped, but a corpse does not count as alive.
        stop(workers, self._settings.grace_s + PATIENCE_S)
        if self._redis.identity is not None:
            stop([self._redis.identity], PATIENCE_S)
        for child in (*self._workers.values(), self._redis):
            child.reap()
        self._places.cluster.unlink(missing_ok=True)
        shutil.rmtree(self._socket_folder, ignore_errors=True)
        logger.info("cluster stopped", extra={"action": "stop"})

    def _stop_leftovers(self) -> None:
        """A killed supervisor's processes may still be ending, and two Redises must not share a folder."""
        left = ClusterState.read(self._places)
        if left is not None:
            stop(left.processes.values(), self._settings.grace_s + PATIENCE_S)
            left.remove_socket()

    def _start_redis(self) -> None:
        """Start Redis; if it cannot read what it kept, put that aside and start empty: the truth is on the volume."""
        self._redis.start()
        if self._redis_answers():
            return
        aside = _free_name(self._places.redis)
        logger.warning("Redis does not start on its data; it is put aside", extra={"action": "start", "aside": aside})
        self._places.redis.rename(aside)
        self._places.redis.mkdir()
        self._redis.start()
        if not self._redis_answers():
            raise RedisUnavailable(f"redis-server does not start; its last words:\n{tail(self._places.log('redis'))}")

    def _redis_answers(self) -> bool:
        """Wait until Redis answers; False if it ended instead, or does not come to an end with loading."""
        deadline = time.monotonic() + REDIS_START_S
        with redis.Redis.from_url(self._url, socket_timeout=2.0) as client:
            while self._redis.running and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.exceptions.RedisError:
                    time.sleep(0.02)
                else:
                    return True
        self._redis.reap()
        return False

    def _look(self) -> None:
        """Start what has died or is newly wanted, end what is no longer wanted, write down who runs."""
        try:
            count = self._places.wanted_workers()
        except (OSError, ValueError) as error:
            logger.warning("the data folder is gone", extra={"action": "stop", "why": str(error)})
            self._stop_asked = True
            return
        wanted = [f"worker-{number}" for number in range(1, count + 1)]
        changed = not self._written
        for name in wanted:
            if name not in self._workers:
                self._workers[name] = self._worker(name)
        for name, child in list(self._workers.items()):
            if name not in wanted:
                child.dismiss()
            changed |= child.keep_running()
            if child.dismissed and not child.running:
                del self._workers[name]
        changed |= self._redis.keep_running()
        if changed:
            self._write_state()

    def _worker(self, name: str) -> Child:
        changes = {
            "SHEAF_DATA_DIR": str(self._places.data_dir),
            "SHEAF_REDIS_URL": self._url,
            "SHEAF_REDIS_USER": None,
            "SHEAF_REDIS_PASSWORD": None,
            "SHEAF_REDIS_PASSWORD_FILE": None,
            "SHEAF_HEALTH_FILE": None,
            "SHEAF_LABEL": name,
            # Whoever may start this cluster may run commands here anyhow.
            "SHEAF_ALLOW_EXEC": "0" if self._settings.allow_exec is False else "1",
        }
        command = [sys.executable, "-m", "sheaf_worker"]
        return Child(name, command, child_environment(changes), self._places.log(name))

    def _nap_s(self) -> float:
        """Seconds until there is something to do that no signal tells of."""
        starts = [child.start_in_s for child in (self._redis, *self._workers.values())]
        return min([LOOK_S, *(start for start in starts if start is not None)])

    def _write_state(self) -> None:
        children = (self._redis, *self._workers.values())
        running = {child.name: child.identity for child in children if child.identity is not None}
        myself = identify(os.getpid())
        assert myself is not None  # noqa: S101  we are alive
        try:
            ClusterState(self._url, myself, running).write(self._places)
            self._written = True
        except OSError as error:
            # The disk is full, say: what runs goes on, and the next look tries again.
            self._written = False
            logger.warning("cluster.json cannot be written", extra={"action": "state", "why": str(error)})

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop_asked = True


def _wake_on_signals(handler: Callable[[int, FrameType | None], None]) -> int:
    """Have every signal that matters call the handler and write a byte into a pipe; return the pipe's reading end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, handler)
    return reading


def _open_process(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; one that is gone has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        reading, writing = os.pipe()
        os.close(writing)
        return reading


def _private_folder() -> Path:
    """A new folder that only this user can enter, with a path short enough for a socket in it."""
    folder = tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX)
    if len(os.fsencode(folder)) > _FOLDER_PATH_LIMIT:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX, dir="/tmp")
    return Path(folder)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.unreadable-{number}")).exists():
        number += 1
    return aside
