"""Keeps the embedded cluster's processes alive and well, and ends them in the right order.

Nothing that the system may refuse for a while (a descriptor, a process, room on the disk, a look into a folder) ends
it: what cannot be done now is tried again, and said in the log, in `cluster.json`, and so by `sheaf status` and
`sheaf up`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from types import FrameType

from sheaf.core.files import exists
from sheaf.core.pidfd import open_process
from sheaf.core.settings import Settings, child_environment
from sheaf.embedded.process import Child, Command, status_text, stop_children
from sheaf.embedded.processes import identify, stop
from sheaf.embedded.state import NEWS, ClusterState, Places
from sheaf.embedded.supervised_redis import STOP_S, SupervisedRedis

logger = logging.getLogger(__name__)

#: Seconds between two looks when no signal comes; while Redis does not answer yet; after something could not be done.
LOOK_S, START_LOOK_S, RETRY_S = 5.0, 0.1, 1.0
#: A check that comes this many seconds late means that the supervisor itself was held up.
BLIND_S = 15.0
#: Seconds for which the data folder must have been gone until nothing is left to serve.
GONE_S = 10.0


class Supervisor:
    """Runs until SIGTERM or SIGINT. SIGHUP makes it look at the wanted number of workers at once."""

    def __init__(
        self, settings: Settings, places: Places, ends_with: int | None = None, prints: int | None = None
    ) -> None:
        """`ends_with`: the pid of a process whose end is ours too; `prints`: a descriptor for what tasks print."""
        self._settings = settings
        self._places = places
        self._prints = prints
        self._stop_asked = False
        self._ends_with = None if ends_with is None else _open_process(ends_with)
        #: What was done lately, and what is said in cluster.json now.
        self._events: deque[tuple[float, str]] = deque(maxlen=NEWS)
        self._written: ClusterState | None = None
        self._redis = SupervisedRedis(places, self._note)
        self._workers: dict[str, Child] = {}
        self._count = 0
        self._gone_since: float | None = None
        self._looked = time.monotonic()
        self._myself = identify(os.getpid())

    def run(self) -> None:
        """Start everything, keep it alive, end it when asked to. The caller holds the supervisor's lock."""
        wake = _wake_on_signals(self._on_signal)
        watched = [] if self._ends_with is None else [self._ends_with]
        try:
            self._stop_leftovers()
            self._redis.start(lambda: self._stop_asked)
            while not self._stop_asked:
                nap_s = self._look_safely()
                awake = select.select([wake, *watched], [], [], nap_s)[0]
                if wake in awake:
                    os.read(wake, 4096)
                # The process that started us is gone.
                self._stop_asked |= self._ends_with in awake
        finally:
            self._end()

    def _end(self) -> None:
        """End the workers, which commit or hand back what they have, then Redis."""
        logger.info("cluster stops", extra={"action": "stop"})
        stop_children(list(self._workers.values()), self._settings.grace_s + STOP_S)
        self._redis.end()
        with contextlib.suppress(OSError):
            self._places.cluster.unlink(missing_ok=True)
        logger.info("cluster stopped", extra={"action": "stop"})

    def _stop_leftovers(self) -> None:
        """A killed supervisor's processes may still be ending, and two Redises must not share a folder."""
        left = ClusterState.read(self._places)
        if left is not None:
            stop(left.processes.values(), self._settings.grace_s + STOP_S)
            left.remove_socket()

    def _look_safely(self) -> float:
        """Look, whatever the system refuses; return the seconds until the next look."""
        try:
            self._look()
        except (OSError, MemoryError) as error:
            why = str(error) or type(error).__name__
            logger.error("a pass over the cluster's processes failed; will retry", extra={"action": "look", "why": why})
            return RETRY_S
        return self._nap_s()

    def _look(self) -> None:
        """Start what has died or is newly wanted, end what is no longer wanted or hangs, write down who runs."""
        now = time.monotonic()
        held_up, self._looked = now - self._looked > BLIND_S, now
        if held_up:
            self._redis.forgive()
        self._read_wanted(now)
        wanted = [f"worker-{number}" for number in range(1, self._count + 1)]
        for name in wanted:
            if name not in self._workers:
                self._workers[name] = self._worker(name)
        for name, child in list(self._workers.items()):
            if held_up:
                child.forgive(now)
            if name not in wanted:
                child.dismiss()
            self._keep_worker(child, now)
            if child.dismissed and not child.running:
                del self._workers[name]
        # Last: it may have a reason to wait.
        self._redis.look()
        self._write_state()

    def _keep_worker(self, child: Child, now: float) -> None:
        hung_s = child.hung_s(now)
        if hung_s:
            self._note(
                f"{child.name} (pid {child.pid}) is alive, but made no progress for {hung_s:.0f} s; "
                "killing and restarting it"
            )
            child.kill()
        if child.reap() and not child.dismissed and not child.killed:
            self._note(f"{child.name} ended with {status_text(child.status)}; restarting it")
        child.keep_running()

    def _read_wanted(self, now: float) -> None:
        """How many workers there should be; as before while that cannot be read."""
        try:
            self._count, self._gone_since = self._places.wanted_workers(), None
            return
        except (OSError, ValueError) as error:
            why = str(error)
        if exists(self._places.folder):
            self._gone_since = None
            logger.warning("cannot read the wanted number of workers", extra={"action": "look", "why": why})
            return
        self._gone_since = self._gone_since or now
        if now - self._gone_since >= GONE_S:
            logger.warning("the data folder is gone; stopping", extra={"action": "stop", "why": why})
            self._stop_asked = True

    def _worker(self, name: str) -> Child:
        health_file = self._redis.folder / f"{name}.health"
        changes = {
            "SHEAF_DATA_DIR": str(self._places.data_dir),
            "SHEAF_TASKS_DIR": str(self._settings.tasks_dir.absolute()),
            "SHEAF_TASKS_DIR_FILE": None,
            "SHEAF_REDIS_URL": self._redis.url,
            "SHEAF_REDIS_USER": None,
            "SHEAF_REDIS_PASSWORD": None,
            "SHEAF_REDIS_PASSWORD_FILE": None,
            "SHEAF_HEALTH_FILE": str(health_file),
            "SHEAF_PRINTS_FD": None if self._prints is None else str(self._prints),
            "SHEAF_LABEL": name,
            # A user who may start this cluster may run commands here anyway.
            "SHEAF_ALLOW_EXEC": "0" if self._settings.allow_exec is False else "1",
        }
        command = Command(
            [sys.executable, "-m", "sheaf_worker"],
            child_environment(changes),
            self._places.log(name),
            # As in containers: where a task's relative paths lead.
            self._places.data_dir,
            health_file,
            self._prints,
        )
        return Child(name, command)

    def _nap_s(self) -> float:
        """Seconds until there is something to do that no signal tells of."""
        starts = [child.start_in_s for child in (self._redis.child, *self._workers.values())]
        look_s = LOOK_S if self._redis.answered else START_LOOK_S
        if self._gone_since is not None:
            look_s = min(look_s, RETRY_S)
        return min([look_s, *(start for start in starts if start is not None)])

    def _note(self, text: str) -> None:
        """Something was done that a person should know of."""
        logger.warning("%s", text, extra={"action": "mend"})
        self._events.append((time.time(), text))

    def _write_state(self) -> None:
        children = (self._redis.child, *self._workers.values())
        running = {child.name: child.identity for child in children if child.identity is not None}
        troubles = tuple(child.trouble for child in children if child.trouble is not None)
        if self._myself is None:
            self._myself = identify(os.getpid())
        assert self._myself is not None  # noqa: S101  we are alive
        state = ClusterState(self._redis.url, self._myself, running, troubles, tuple(self._events))
        if state == self._written and exists(self._places.cluster):
            return
        try:
            state.write(self._places)
            self._written = state
        except OSError as error:
            # The disk is full, say: what runs goes on, and the next look tries again.
            self._written = None
            logger.warning("cannot write cluster.json", extra={"action": "state", "why": str(error)})

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
        return open_process(pid)
    except ProcessLookupError:
        reading, writing = os.pipe()
        os.close(writing)
        return reading
