"""Start, resize and stop the embedded cluster of a data folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from sheaf.broker.address import shown_address
from sheaf.broker.connection import connect
from sheaf.broker.replies import number
from sheaf.broker.rq_queue import import_rq_queue
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.errors import ClusterError, UsageError
from sheaf.core.last_words import last_words
from sheaf.core.settings import Settings, child_environment
from sheaf.embedded.processes import ProcessId, is_alive, send_signal, stop, wait_gone
from sheaf.embedded.redis_server import find_redis_server
from sheaf.embedded.state import ClusterState, Places, tail
from sheaf.embedded.supervised_redis import REDIS_START_S, STOP_S
from sheaf.embedded.supervisor import Supervisor

#: Seconds from the start of a worker to its first sign of life, on a slow and busy machine.
WORKER_START_S = 60.0
#: A worker that is started more often than this before it serves never will.
RESTARTS = 3
#: The supervisor ended because another one already serves the data folder.
ALREADY_SERVED = 3
#: Seconds of waiting after which it is said for what.
SILENT_S = 2.0


def up(
    settings: Settings,
    workers: int,
    *,
    ends_with_us: bool = False,
    temporary: bool = False,
    prints_fd: int | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> ClusterState:
    """Start the cluster, or give the running one another number of workers; return when all of them serve.

    `ends_with_us`: it ends when this process does, however that ends; `temporary`: its data folder goes with it then.
    `prints_fd`: a descriptor of ours for what tasks print. `say` is called with what is waited for, if that takes long.
    Raises ClusterError with the reason if they do not come. Interrupted, it stops what it has started.
    """
    places = prepare(settings, workers)
    if places.locked:
        _notify(places)
        return _wait_until_serving(settings, places, workers, None, say)
    find_redis_server()
    interrupted: list[int] = []
    with _noted(interrupted):
        supervisor = _start_supervisor(
            settings, places, ends_with_us=ends_with_us, temporary=temporary, prints_fd=prints_fd
        )
    try:
        if interrupted:
            raise KeyboardInterrupt
        return _wait_until_serving(settings, places, workers, supervisor, say)
    except KeyboardInterrupt:
        say("interrupted: what was started is stopped again")
        supervisor.terminate()
        supervisor.wait(settings.grace_s + 3 * STOP_S)
        raise


def prepare(settings: Settings, workers: int) -> Places:
    """Prepare the data folder for a cluster of this many workers."""
    if settings.redis_url:
        raise UsageError(
            f"SHEAF_REDIS_URL is set ({shown_address(settings.redis_url)}), so `sheaf load` would use that Redis and "
            "not the one that `sheaf up` starts; unset it, or use the workers of that Redis"
        )
    import_rq_queue()  # what its workers would refuse is better said here
    places = Places(settings.data_dir.resolve())
    places.make()
    places.want_workers(workers)
    return places


def supervise(settings: Settings, ends_with: int | None = None, prints_fd: int | None = None) -> int:
    """Be the supervisor until asked to stop, or until the process `ends_with` is gone."""
    places = Places(settings.data_dir.resolve())
    lock = places.lock()
    if lock is None:
        sys.stderr.write(f"a cluster already serves {places.data_dir}\n")
        return ALREADY_SERVED
    try:
        Supervisor(settings, places, ends_with, prints_fd).run()
    finally:
        os.close(lock)
    return 0


def down(settings: Settings) -> bool:
    """Stop the cluster, and whatever a killed one has left over. Return whether there was anything to stop."""
    places = Places(settings.data_dir.resolve())
    state = ClusterState.read(places)
    if state is None:
        return False
    limit_s = settings.grace_s + 2 * STOP_S
    found = [process for process in (state.supervisor, *state.processes.values()) if is_alive(process)]
    if not found and places.locked:
        raise UsageError(
            f"the cluster of {places.data_dir} was started elsewhere (for example in a container); stop it there"
        )
    if send_signal(state.supervisor, signal.SIGTERM) and wait_gone([state.supervisor], limit_s):
        send_signal(state.supervisor, signal.SIGKILL)
    # A supervisor that was killed can end nothing: do it for it. Redis goes last, so that workers can hand back.
    stop(state.workers().values(), settings.grace_s + STOP_S)
    stop(state.processes.values(), STOP_S)
    places.cluster.unlink(missing_ok=True)
    state.remove_socket()
    return bool(found)


def _start_supervisor(
    settings: Settings, places: Places, *, ends_with_us: bool, temporary: bool, prints_fd: int | None
) -> subprocess.Popen[bytes]:
    options = ["--ends-with", str(os.getpid())] if ends_with_us else []
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(places.log("supervisor"), "ab"))
        passed = []
        if prints_fd is not None:
            # Under a number of its own: as the supervisor's stderr it would get the log.
            passed.append(os.dup(prints_fd))
            stack.callback(os.close, passed[0])
            options += ["--prints-fd", str(passed[0])]
        return subprocess.Popen(
            [sys.executable, "-m", "sheaf.embedded", str(places.data_dir), *options, *["--temporary"] * temporary],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=passed,
            # Named in full, since the workers do not start where we are.
            env=child_environment(
                {"SHEAF_TASKS_DIR": str(settings.tasks_dir.absolute()), "SHEAF_TASKS_DIR_FILE": None}
            ),
            # Its own session: it outlives this terminal, and Ctrl-C in it.
            start_new_session=True,
        )


@contextlib.contextmanager
def _noted(interrupted: list[int]) -> Iterator[None]:
    """A Ctrl-C is noted in the list, and no longer comes between the start of a process and the knowledge of it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # such a thread is never interrupted
        return
    before = signal.signal(signal.SIGINT, lambda number, _frame: interrupted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _notify(places: Places) -> None:
    """Have the running supervisor look at the wanted number of workers now."""
    state = ClusterState.read(places)
    if state is not None:
        send_signal(state.supervisor, signal.SIGHUP)


def _wait_until_serving(
    settings: Settings,
    places: Places,
    workers: int,
    supervisor: subprocess.Popen[bytes] | None,
    say: Callable[[str], None],
) -> ClusterState:
    began = time.monotonic()
    seen: set[ProcessId] = set()
    missing, said = "", ("", began)
    while time.monotonic() - began < REDIS_START_S + WORKER_START_S and len(seen) <= workers + RESTARTS:
        state = ClusterState.read(places)
        if state is not None and is_alive(state.supervisor):
            missing = _missing(settings, state, workers)
            if not missing:
                return state
            seen.update(state.workers().values())
        else:
            missing = "the supervisor, which has not written down yet who runs"
        if supervisor is not None and supervisor.poll() not in (None, ALREADY_SERVED):
            raise ClusterError(f"the cluster does not start:\n{tail(places.log('supervisor'))}")
        if missing != said[0] and time.monotonic() - said[1] >= SILENT_S:
            said = missing, time.monotonic()
            say(f"waiting for {missing}")
        time.sleep(0.05)
    raise ClusterError(
        f"the workers did not start ({workers} are wanted). Still missing: {missing}; the end of "
        f"{places.log('worker-1')}:\n{tail(places.log('worker-1'))}\n"
        "The supervisor keeps trying; `sheaf down` stops it"
    )


def _missing(settings: Settings, state: ClusterState, workers: int) -> str:
    """What is still waited for and why, for people; nothing if exactly the wanted workers run and show themselves."""
    here = dataclasses.replace(settings, redis_url=state.redis_url, redis_user=None, redis_password=None)
    why = "".join(f"; {news}" for news in state.news())
    try:
        with connect(here, timeout_s=2.0) as connection:
            registry = WorkerRegistry(connection)
            announced = {number(entry.fields.get("pid")) for entry in registry.workers()}
            refusal = registry.refusal()
    except ClusterError as error:
        return f"Redis: {error}{why}"
    running = state.workers()
    if len(running) != workers:
        return f"{workers} workers, of which {len(running)} run{why}"
    silent = [name for name, process in running.items() if process.pid not in announced]
    if silent and refusal is not None:
        return f"{', '.join(silent)}, which cannot show themselves: {refusal}"
    broken = [
        f"; {death.label} broke: {death.cause}" for death in last_words(settings.data_dir) if death.label in silent
    ]
    return f"a first sign of life of {', '.join(silent)}{''.join(broken)}{why}" if silent else ""
