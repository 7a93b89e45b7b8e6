"""Processes that we started, distinguished from later ones with the same pid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sheaf.core.pidfd import open_process

#: How often it is looked for more, since what is being killed may be forking.
_ROUNDS = 5


class ProcessId(NamedTuple):
    """A pid, and the moment (boot and clock tick) at which its process began: together they never come twice."""

    pid: int
    began: str


def identify(pid: int) -> ProcessId | None:
    """Return the process that has that pid now; None if there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, began_ticks = fields[0], fields[19]
    return None if state in "ZX" else ProcessId(pid, f"{boot}/{began_ticks}")


def is_alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def send_signal(process: ProcessId, number: signal.Signals) -> bool:
    """Signal a process; False if it is gone. Never hits another process, even if the pid is reused meanwhile."""
    try:
        descriptor = open_process(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(processes: Iterable[ProcessId], within_s: float) -> list[ProcessId]:
    """Wait until the processes have ended; return those that have not."""
    deadline = time.monotonic() + within_s
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if is_alive(process)]
    return left


def stop(processes: Iterable[ProcessId], within_s: float) -> None:
    """Ask processes to end; kill those that have not after `within_s` seconds."""
    asked = [process for process in processes if send_signal(process, signal.SIGTERM)]
    stubborn = wait_gone(asked, within_s)
    for process in stubborn:
        send_signal(process, signal.SIGKILL)
    wait_gone(stubborn, 5.0)


def end_marked(mark: str) -> int:
    """Kill every process that has this text in the environment it was started with; return how many there were."""
    ended = 0
    for _ in range(_ROUNDS):
        found = [process for process in map(identify, _marked(mark)) if process is not None]
        if not found:
            break
        ended += sum(send_signal(process, signal.SIGKILL) for process in found)
        wait_gone(found, 1.0)
    return ended


def _marked(mark: str) -> list[int]:
    wanted, pids = mark.encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # it has just ended, or belongs to another user
            if wanted in environment:
                pids.append(int(entry.name))
    return pids
