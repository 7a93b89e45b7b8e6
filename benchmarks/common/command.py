"""Run a command to its end: what it printed, its wall time, the CPU seconds and the memory of it and its children."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CommandFailed(Exception):
    """A contender did not do its work, so it has no result to compare."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended well."""

    stdout: str
    stderr: str
    wall_s: float
    #: CPU seconds of the command and of all its children that it waited for.
    cpu_s: float
    #: The peak of the command's own memory; 0 if not asked for. (What the system counts for a child that has ended
    #: includes what its parent had when it began.)
    peak_rss_mb: float


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    longest_s: float = 300,
    watch_memory: bool = False,
) -> Ran:
    """Raises CommandFailed, with what it printed, if it fails or takes longer than `longest_s`."""
    peak_mb, ended = [0.0], threading.Event()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        timer = threading.Timer(longest_s, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        if watch_memory:
            threading.Thread(target=_watch_memory, args=(process.pid, peak_mb, ended)).start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        timer.cancel()
        ended.set()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if process.returncode != 0:
        text = f"{' '.join(map(str, command))} ended with {process.returncode} after {wall_s:.1f} s"
        raise CommandFailed(f"{text}:\n{stdout[-2000:]}\n{stderr[-2000:]}")
    return Ran(stdout, stderr, wall_s, usage.ru_utime + usage.ru_stime, peak_mb[0])


def _watch_memory(pid: int, peak_mb: list[float], ended: threading.Event) -> None:
    while not ended.wait(0.02):
        peak_mb[0] = max(peak_mb[0], rss_mb(pid))


def tree(root: int) -> list[int]:
    """A process and all its living descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU seconds that these processes, and children of theirs that have ended, have used so far."""
    ticks = sum(int(tick) for pid in pids for tick in _stat(pid)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int, field: str = "VmHWM") -> float:
    """A process's memory: the peak (VmHWM), or now (VmRSS). 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), 0.0)


def _stat(pid: int) -> list[str]:
    """The fields after the name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
