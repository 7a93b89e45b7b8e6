"""Start, resize and stop the embedded cluster of a data folder."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time

from sheaf.connection import connect
from sheaf.embedded.processes import ProcessId, is_alive, send_signal, stop, wait_gone
from sheaf.embedded.redis_server import find_redis_server
from sheaf.embedded.state import ClusterState, Places, tail
from sheaf.embedded.supervisor import PATIENCE_S, REDIS_START_S, Supervisor
from sheaf.errors import ClusterError, UsageError
from sheaf.roster import Roster
from sheaf.settings import Settings, child_environment

#: Seconds from the start of a worker to its first sign of life, on a slow and busy machine.
WORKER_START_S = 60.0
#: A worker that is started more often than this before it serves never will.
RESTARTS = 3
#: The supervisor ended because another one already serves the data folder.
ALREADY_SERVED = 3


def up(settings: Settings, workers: int, *, ends_with_us: bool = False, temporary: bool = False) -> ClusterState:
    """Start the cluster, or give the running one another number of workers; return when all of them serve.

    `ends_with_us`: it ends when this process does, however that ends; `temporary`: its data folder goes with it then.
    Raises ClusterError with the end of the log if they do not.
    """
    places = prepare(settings, workers)
    supervisor: subprocess.Popen[bytes] | None = None
    if places.locked:
        _notify(places)
    else:
        find_redis_server()
        supervisor = _start_supervisor(settings, places, ends_with_us=ends_with_us, temporary=temporary)
    return _wait_until_serving(settings, places, workers, supervisor)


def prepare(settings: Settings, workers: int) -> Places:
    """Make the data folder ready for a cluster of so many workers."""
    if settings.redis_url:
        raise UsageError(
            f"SHEAF_REDIS_URL is set ({settings.redis_url}), so `sheaf load` would use that Redis and not the one "
            "that `sheaf up` starts; unset it, or use the workers of that Redis"
        )
    places = Places(settings.data_dir.resolve())
    places.make()
    places.want_workers(workers)
    return places


def supervise(settings: Settings, ends_with: int | None = None) -> int:
    """Be the supervisor until told to stop, or until the process `ends_with` is gone."""
    places = Places(settings.data_dir.resolve())
    lock = places.lock()
    if lock is None:
        sys.stderr.write(f"a cluster already serves {places.data_dir}\n")
        return ALREADY_SERVED
    try:
        Supervisor(settings, places, ends_with).run()
    finally:
        os.close(lock)
    return 0


def down(settings: Settings) -> bool:
    """Stop the cluster, and whatever a killed one has left over. Return whether there was anything to stop."""
    places = Places(settings.data_dir.resolve())
    state = ClusterState.read(places)
    if state is None:
        return False
    patience_s = settings.grace_s + 2 * PATIENCE_S
    found = [process for process in (state.supervisor, *state.processes.values()) if is_alive(process)]
    if not found and places.locked:
        raise UsageError(f"the cluster of {places.data_dir} was started elsewhere (in a container, say); stop it there")
    if send_signal(state.supervisor, signal.SIGTERM) and wait_gone([state.supervisor], patience_s):
        send_signal(state.supervisor, signal.SIGKILL)
    # A supervisor that was killed can end nothing: do it for it. Redis goes last, so that workers can hand back.
    stop(state.workers().values(), settings.grace_s + PATIENCE_S)
    stop(state.processes.values(), PATIENCE_S)
    places.cluster.unlink(missing_ok=True)
    state.remove_socket()
    return bool(found)


def _start_supervisor(
    settings: Settings, places: Places, *, ends_with_us: bool, temporary: bool
) -> subprocess.Popen[bytes]:
    ends = ["--ends-with", str(os.getpid())] if ends_with_us else []
    with open(places.log("supervisor"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sheaf.embedded", str(places.data_dir), *ends, *["--temporary"] * temporary],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            # Named in full, since the workers do not start where we are.
            env=child_environment(
                {"SHEAF_TASKS_DIR": str(settings.tasks_dir.absolute()), "SHEAF_TASKS_DIR_FILE": None}
            ),
            # Its own session: it outlives this terminal, and Ctrl-C in it.
            start_new_session=True,
        )


def _notify(places: Places) -> None:
    """Have the running supervisor look at the wanted number of workers now."""
    state = ClusterState.read(places)
    if state is not None:
        send_signal(state.supervisor, signal.SIGHUP)


def _wait_until_serving(
    settings: Settings, places: Places, workers: int, supervisor: subprocess.Popen[bytes] | None
) -> ClusterState:
    deadline = time.monotonic() + REDIS_START_S + WORKER_START_S
    seen: set[ProcessId] = set()
    while time.monotonic() < deadline and len(seen) <= workers + RESTARTS:
        state = ClusterState.read(places)
        if state is not None and is_alive(state.supervisor):
            if _serves(settings, state, workers):
                return state
            seen.update(state.workers().values())
        if supervisor is not None and supervisor.poll() not in (None, ALREADY_SERVED):
            raise ClusterError(f"the cluster does not start:\n{tail(places.log('supervisor'))}")
        time.sleep(0.05)
    raise ClusterError(
        f"the workers do not come up ({workers} are wanted); the end of {places.log('worker-1')}:\n"
        f"{tail(places.log('worker-1'))}\nThe supervisor goes on trying; `sheaf down` stops it"
    )


def _serves(settings: Settings, state: ClusterState, workers: int) -> bool:
    """Whether exactly the wanted workers run and each has announced itself."""
    if len(state.workers()) != workers:
        return False
    here = dataclasses.replace(settings, redis_url=state.redis_url, redis_user=None, redis_password=None)
    try:
        with connect(here) as connection:
            announced = {card.number("pid") for card in Roster(connection).workers()}
    except ClusterError:
        return False
    return {process.pid for process in state.workers().values()} <= announced
