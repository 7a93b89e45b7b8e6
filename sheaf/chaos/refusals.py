"""Refuses system calls of processes that run under `held.py`: which of them fail, and how, is said by rules.

A call is identified by its name, by its process (the label it was started with, and what it is), and by its place:
the file, with numbers and random names taken out, or what else it is about.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import socket
import struct
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sheaf.chaos import held

#: ioctl numbers of the listener's descriptor, and what they pass (linux/seccomp.h).
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_CONTINUE = 1
#: Calls that have a path: at which argument, and (if any) at which the folder that it is relative to.
_PATHS = {
    **dict.fromkeys(("open", "rename", "mkdir", "rmdir", "link", "unlink", "truncate"), (0, None)),
    **dict.fromkeys(
        ("openat", "mkdirat", "newfstatat", "unlinkat", "renameat", "renameat2", "linkat", "statx"), (1, 0)
    ),
}
#: Calls that are about nothing that has a name yet.
_NAMELESS = {
    **dict.fromkeys(("pipe", "pipe2", "socketpair", "socket", "epoll_create1", "eventfd2"), ""),
    **{"memfd_create": "", "pidfd_open": "", "connect": "socket"},
}
_CLONE_THREAD = 0x10000
_AT_FDCWD = -100
#: What differs from run to run in a path: the names of runs and sessions, tokens, pids.
_RANDOM = re.compile(r"(?<=runs/)[^/]+|(?<=sessions/)[^/]+|[0-9a-f]{6,}|\d+")
#: What a process is -> what its command line holds; the first that fits.
_KINDS = (
    ("child", b"spawn_main"),
    ("redis", b"redis-server"),
    ("redis", b"valkey-server"),
    ("tracker", b"resource_tracker"),
    ("worker", b"sheaf_worker"),
    ("worker", b"sheaf.chaos.sabotaged_worker"),
    ("supervisor", b"sheaf.embedded"),
)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a call is made: what may be refused."""

    #: What the process is (`worker`, `child`, `supervisor`, …), or the label it was started with.
    who: str
    call: str
    place: str

    def __str__(self) -> str:
        return f"{self.who}: {self.call} {self.place}"


@dataclass(slots=True)
class Rule:
    """Which calls fail."""

    error: int
    calls: tuple[str, ...]
    #: A pattern that is searched in the place.
    place: str = ""
    who: str = ""
    #: Let this many pass first.
    after: int = 0
    #: Refuse this many; None: all, for good.
    times: int | None = 1
    refused: int = 0
    _passed: int = field(default=0, repr=False)

    def strikes(self, site: Site) -> bool:
        if site.call not in self.calls or self.who not in ("", site.who) or not re.search(self.place, site.place):
            return False
        self._passed += 1
        if self._passed <= self.after or (self.times is not None and self.refused >= self.times):
            return False
        self.refused += 1
        return True


class Refusals:
    """Decides over the calls of all processes that were started by `command()`; one thread."""

    def __init__(self, folder: Path, calls: Sequence[str]) -> None:
        """`folder`: files elsewhere do not matter here, and all calls on them are made."""
        self._folder = str(folder)
        self._calls = ",".join(calls)
        # The path of a unix socket must be shorter than 108 bytes.
        self._socket_folder = tempfile.mkdtemp(prefix="sheaf-held-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._socket_folder}/socket")
        self._listener.listen()
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._labels: dict[int, str] = {}
        #: Processes that have not said yet who they are.
        self._connections: dict[int, socket.socket] = {}
        self._stop, self._stopped = os.pipe()
        #: What was called, and how often, since it was last asked for; and what was refused.
        self._seen: Counter[Site] = Counter()
        self.log: list[str] = []
        self._thread = threading.Thread(target=self._serve, name="refusals", daemon=True)
        self._thread.start()

    def command(self, label: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` with us to decide over it."""
        holder = [sys.executable, "-I", "-S", held.__file__, f"{self._socket_folder}/socket", label, self._calls]
        return [*holder, *command]

    def rule(self, *rules: Rule) -> None:
        """From now on these calls fail, and no others; without any, all are made."""
        with self._lock:
            self._rules = list(rules)

    def add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def lift(self, rule: Rule) -> None:
        with self._lock:
            self._rules = [each for each in self._rules if each is not rule]

    def seen(self) -> Counter[Site]:
        """What was called since the last time that this was asked."""
        with self._lock:
            seen, self._seen = self._seen, Counter()
        return seen

    def close(self) -> None:
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._listener.close()
        with contextlib.suppress(OSError):
            Path(self._socket_folder, "socket").unlink()
            Path(self._socket_folder).rmdir()

    def _serve(self) -> None:
        poll = select.poll()
        for descriptor in (self._stop, self._listener.fileno()):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, events in poll.poll():
                if descriptor == self._stop:
                    self._leave()
                    return
                if descriptor == self._listener.fileno():
                    connection = self._listener.accept()[0]
                    self._connections[connection.fileno()] = connection
                    poll.register(connection, select.POLLIN)
                elif descriptor in self._connections:
                    poll.unregister(descriptor)
                    if (listener := self._receive(self._connections.pop(descriptor))) is not None:
                        poll.register(listener, select.POLLIN)
                elif events & select.POLLIN:
                    self._answer(descriptor)
                else:
                    # All that had this filter have ended.
                    poll.unregister(descriptor)
                    del self._labels[descriptor]
                    os.close(descriptor)

    def _leave(self) -> None:
        for connection in self._connections.values():
            connection.close()
        for listener in self._labels:
            os.close(listener)

    def _receive(self, connection: socket.socket) -> int | None:
        """Return the descriptor on which a new process's calls are reported; None if it was killed before."""
        with connection:
            try:
                label, descriptors, _, _ = socket.recv_fds(connection, 200, 1)
            except ConnectionResetError:
                return None
        if not descriptors:
            return None
        self._labels[descriptors[0]] = label.decode()
        return descriptors[0]

    def _answer(self, listener: int) -> None:
        notice = ctypes.create_string_buffer(_NOTICE.size)
        if _libc.ioctl(listener, ctypes.c_ulong(_RECEIVE), notice) < 0:
            return  # killed, or woken by a signal, before we could look; the call comes again if it is made again
        number, thread, _, call, _, _, *arguments = _NOTICE.unpack(notice.raw)
        error = self._decide(self._labels[listener], thread, _NAMES[call], arguments)
        answer = _ANSWER.pack(number, 0, -error, 0) if error else _ANSWER.pack(number, 0, 0, _CONTINUE)
        _libc.ioctl(listener, ctypes.c_ulong(_SEND), ctypes.create_string_buffer(answer, len(answer)))

    def _decide(self, label: str, thread: int, call: str, arguments: Sequence[int]) -> int:
        """Return the error that the call is to end with; 0: it is made."""
        place = self._place(thread, call, arguments)
        if place is None:
            return 0
        site = Site(_kind(thread) or label, call, place)
        with self._lock:
            self._seen[site] += 1
            for rule in self._rules:
                if rule.strikes(site):
                    self.log.append(f"{site}: {os.strerror(rule.error)}")
                    return rule.error
        return 0

    def _place(self, thread: int, call: str, arguments: Sequence[int]) -> str | None:
        if call in ("clone", "clone3", "fork", "vfork"):
            return _begins_what(thread, call, arguments)
        if call in _NAMELESS:
            return _NAMELESS[call]
        try:
            path = _path_of(thread, call, arguments)
        except OSError:
            return None
        kind = next((kind for kind in ("pipe:", "socket:", "/memfd:") if path.startswith(kind)), "")
        if kind or not path.startswith(self._folder):
            return kind.strip("/:") or None
        return _RANDOM.sub("*", path[len(self._folder) :].strip("/").removesuffix(" (deleted)"))


def _path_of(thread: int, call: str, arguments: Sequence[int]) -> str:
    if call in _PATHS:
        where, folder_at = _PATHS[call]
        path = _text_at(thread, arguments[where])
        if path.startswith("/"):
            return path
        folder = _AT_FDCWD if folder_at is None else ctypes.c_int(arguments[folder_at]).value
        base = "cwd" if folder == _AT_FDCWD else f"fd/{folder}"
        return os.path.normpath(f"{os.readlink(f'/proc/{thread}/{base}')}/{path}")  # noqa: PTH115
    descriptor = ctypes.c_int(arguments[{"mmap": 4, "copy_file_range": 2}.get(call, 0)]).value
    return os.readlink(f"/proc/{thread}/fd/{descriptor}")  # noqa: PTH115


def _text_at(thread: int, address: int) -> str:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        try:
            text = memory.read(4096)
        except OSError:
            memory.seek(address)
            text = memory.read(4096 - address % 4096)
    return text.split(b"\0")[0].decode(errors="replace")


def _begins_what(thread: int, call: str, arguments: Sequence[int]) -> str:
    if call == "clone3":
        with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
            memory.seek(arguments[0])
            flags = int.from_bytes(memory.read(8), sys.byteorder)
    else:
        flags = arguments[0] if call == "clone" else 0
    return "a thread" if flags & _CLONE_THREAD else "a process"


def _kind(thread: int) -> str:
    try:
        line = Path(f"/proc/{thread}/cmdline").read_bytes()
    except OSError:
        return ""
    return next((kind for kind, sign in _KINDS if sign in line), "")


_NAMES = {number: name for name, number in held.NUMBERS.items()}


def available() -> str:
    """Why no process can be held on this machine; empty if it can."""
    if not held.NUMBERS:
        return f"no numbers of system calls are known for {os.uname().machine}"
    child = os.fork()
    if child == 0:
        try:
            held.hold_myself(["fsync"])
        except OSError:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (
        ""
        if status == 0
        else "the kernel does not support seccomp's user notification, so system calls cannot be intercepted"
    )
