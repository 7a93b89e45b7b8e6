"""Runs `sheaf` commands as forks of one process that has imported everything already.

Most of what a short command costs is Python's start and its imports, and a run of the tests has some thousand commands.
A fork is a process as any other: with arguments, environment, folder, streams, signals and an exit status of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

#: What Python reads when it starts only: a command with other values of these needs a Python of its own.
_READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
#: Bytes of one request: arguments, environment, folder.
_LARGEST = 200_000


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a command with this environment may be a fork of a process that was started with ours."""

    def read(values: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in values.items() if name.startswith(_READ_AT_THE_START)}

    measured = any(name.startswith("COVERAGE_") for name in os.environ)
    return not measured and read(environment) == read(os.environ)


def run_command(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], given: bytes, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """As `subprocess.run` with pipes: a fork, if one is as good. Raises subprocess.TimeoutExpired."""
    if not can_fork(env):
        return subprocess.run(command, cwd=cwd, env=env, input=given, capture_output=True, timeout=timeout)
    request = json.dumps([list(command), str(cwd), dict(env), _umask()]).encode()
    (stdin, feed), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    ours, theirs = socket.socketpair()
    with ours:
        socket.send_fds(_forker(), [request], [stdin, stdout, stderr, theirs.fileno()])
        theirs.close()
        for each in (stdin, stdout, stderr):
            os.close(each)
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_feed, feed, given)
            printed, complaints = pool.submit(_drain, out), pool.submit(_drain, err)
            with ours.makefile() as answers:
                pid = int(answers.readline())
                if not select.select([ours], [], [], timeout)[0]:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(list(command), timeout)
                status = int(answers.readline())
        return subprocess.CompletedProcess(list(command), status, printed.result(), complaints.result())


def _umask() -> int:
    """Without setting it for a moment, as os.umask() would for all threads."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def _feed(pipe: int, given: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb") as stream:
        stream.write(given)


def _drain(pipe: int) -> bytes:
    with open(pipe, "rb") as stream:
        return stream.read()


@functools.cache
def _forker() -> socket.socket:
    """The way to this process's forker, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        forker = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])

    def end() -> None:
        ours.close()
        forker.wait(60)

    atexit.register(end)
    return ours


# --- in the process that forks ---


def _import_all() -> None:
    from sheaf.cli import main

    for place in main._COMMANDS.values():
        importlib.import_module(place.partition(":")[0])
    for name in ("sheaf_producer.submit.load", "sheaf_producer.submit.map", "rq"):
        importlib.import_module(name)


class _Forker:
    """Forks for each request, and reports the pids and exit statuses of the forks."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._ended, ended = socket.socketpair()
        ended.setblocking(False)
        self._sockets = [requests, self._ended, ended]
        self._running: dict[int, socket.socket] = {}
        signal.set_wakeup_fd(ended.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> list[str] | None:
        """Return in the forks: the command that each of them is; and in the end: None."""
        while True:
            ready, _, _ = select.select([self._requests, self._ended], [], [])
            if self._ended in ready:
                self._ended.recv(4096)
                self._report_ended()
            if self._requests in ready:
                request, files, _, _ = socket.recv_fds(self._requests, _LARGEST, 4)
                if not request:
                    return None
                *streams, answer = files
                if self._fork(socket.socket(fileno=answer)) == 0:
                    command, folder, environment, umask = json.loads(request)
                    os.umask(umask)
                    _become(folder, environment, streams)
                    return list(command)
                for each in streams:
                    os.close(each)

    def _fork(self, answer: socket.socket) -> int:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (*self._sockets, *self._running.values(), answer):
                each.close()
        else:
            answer.sendall(b"%d\n" % pid)
            self._running[pid] = answer
        return pid

    def _report_ended(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._running.pop(pid) as answer, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                answer.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(folder: str, environment: dict[str, str], streams: list[int]) -> None:
    """Take on what a process of its own would have."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, mode in (("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb")):
        reopened = _reopened(getattr(sys, name), mode)
        setattr(sys, name, reopened)
        setattr(sys, f"__{name}__", reopened)


def _reopened(stream: Any, mode: str) -> io.TextIOWrapper:
    file = stream.fileno()
    return io.TextIOWrapper(
        open(file, mode, closefd=False),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=file == 2 or os.isatty(file),
    )


if __name__ == "__main__":
    _import_all()
    gc.collect()
    gc.freeze()
    wanted = _Forker(socket.socket(fileno=int(sys.argv[1]))).serve()
    if wanted is not None:
        from sheaf.cli.main import main

        sys.argv = wanted
        main()
