"""A tracer by ptrace: sees every system call of a child that touches a folder, and can kill -9 it before any of them.

Needs Linux on x86_64 or aarch64 and nothing else; the kernel tells the arguments in one form for both
(PTRACE_GET_SYSCALL_INFO, Linux 5.3). Use it from a process without threads: it forks.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

_X86_64 = """
read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 lseek 8 mmap 9 pread64 17 pwrite64 18 readv 19
writev 20 access 21 dup 32 dup2 33 sendfile 40 fcntl 72 flock 73 fsync 74 fdatasync 75 truncate 76
ftruncate 77 rename 82 mkdir 83 creat 85 link 86 unlink 87 symlink 88 readlink 89 chmod 90 fchmod 91
chown 92 fchown 93 getdents64 217 openat 257 mkdirat 258 newfstatat 262 unlinkat 263 renameat 264
linkat 265 fchmodat 268 faccessat 269 sync_file_range 277 fallocate 285 dup3 292 preadv 295 pwritev
296 renameat2 316 copy_file_range 326 preadv2 327 pwritev2 328 statx 332 faccessat2 439"""
_AARCH64 = """dup 23 dup3 24 fcntl 25 flock 32 mkdirat 34 unlinkat 35 linkat 37 renameat 38 truncate 45 ftruncate 46
fallocate 47 faccessat 48 fchmod 52 fchmodat 53 fchown 55 openat 56 close 57 getdents64 61 lseek 62 read 63 write 64
readv 65 writev 66 pread64 67 pwrite64 68 preadv 69 pwritev 70 sendfile 71 readlinkat 78 newfstatat 79 fstat 80 fsync 82
fdatasync 83 sync_file_range 84 mmap 222 renameat2 276 copy_file_range 285 preadv2 286 pwritev2 287 statx 291
faccessat2 439"""


def _numbers(table: str) -> dict[int, str]:
    words = table.split()
    return {int(number): name for name, number in zip(words[::2], words[1::2], strict=True)}


NAMES = {"x86_64": _numbers(_X86_64), "aarch64": _numbers(_AARCH64)}.get(platform.machine(), {})
#: Where a call has its path; every other call in the table has a descriptor first, but for mmap.
_PATH_FIRST = """open stat lstat access truncate rename mkdir creat link unlink symlink readlink chmod chown"""
_PATH_SECOND = """openat mkdirat newfstatat unlinkat renameat linkat fchmodat faccessat renameat2 statx faccessat2"""
_PATH_AT = dict.fromkeys(_PATH_FIRST.split(), 0) | dict.fromkeys(_PATH_SECOND.split(), 1)
_TARGET_AT = {"rename": 1, "link": 1, "renameat": 3, "renameat2": 3, "linkat": 3}
_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 0x1, 0x100000
_ENTRY = 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


@dataclass(slots=True)
class Call:
    """A system call that touched the folder, or a mark()."""

    name: str
    #: The file's name, "." for the folder itself; for a mark its text.
    file: str
    arguments: tuple[int, ...] = ()
    #: What a write wrote.
    data: bytes = b""
    #: Where it wrote; -1 for the descriptor's own position.
    offset: int = -1
    #: What the kernel answered; None if the child was killed before.
    result: int | None = None
    #: The new name that a rename or a link gives.
    target: str = ""

    def __str__(self) -> str:
        span = f" {len(self.data)} bytes at {self.offset}" if self.data else ""
        return f"{self.name} {self.file}{span}"


@dataclass(slots=True)
class Trace:
    calls: list[Call] = field(default_factory=list)
    #: As subprocess's returncode: -9 if it was killed.
    status: int = 0

    @property
    def marks(self) -> list[str]:
        return [call.file for call in self.calls if call.name == "mark"]


def mark(text: str) -> None:
    """Let the tracer know how far the child is."""
    descriptor = os.open("/dev/null", os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def run(main: Callable[[], None]) -> int:
    """Run `main` in a child of its own, untraced, without the clean-up that ends a process; return its status."""
    child = os.fork()
    if child == 0:
        _child(main)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trace(main: Callable[[], None], folder: Path, *, kill_before: int | None = None, tear: bool = False) -> Trace:
    """Run `main` in a child; return its calls that touched the folder.

    With `kill_before` it is killed when it is about to make that call (the first is 0), which does not happen; with
    `tear`, half of what that call would have written is written, as when a kill meets a long write.
    """
    child = os.fork()
    if child == 0:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        _child(main)
    os.waitpid(child, 0)
    _ptrace(_SETOPTIONS, child, data=_SYSGOOD | _EXITKILL)
    return _Tracer(child, folder).follow(kill_before, tear)


def _child(main: Callable[[], None]) -> NoReturn:
    try:
        main()
    except BaseException:  # noqa: BLE001  # the child ends here, and says why
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    answer: int = _libc.ptrace(request, pid, address, data)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace {request:#x}: {os.strerror(code)}")
    return answer


class _Tracer:
    def __init__(self, child: int, folder: Path) -> None:
        self._child = child
        self._folder = folder
        self._memory = os.open(f"/proc/{child}/mem", os.O_RDONLY)
        self._information = ctypes.create_string_buffer(88)

    def follow(self, kill_before: int | None, tear: bool) -> Trace:
        found = Trace()
        under_way: Call | None = None
        try:
            while (stopped_by := self._go_on(found)) is not None:
                if stopped_by != signal.SIGTRAP | 0x80:
                    continue
                entry, numbers = self._look()
                if entry:
                    under_way = self._decode(NAMES.get(numbers[0], ""), numbers[1:])
                    if under_way is not None and len(found.calls) == kill_before:
                        self._kill(found)
                        if tear:
                            self._tear(under_way)
                    elif under_way is not None:
                        found.calls.append(under_way)
                elif under_way is not None:
                    under_way.result = numbers[0]
        finally:
            os.close(self._memory)
        return found

    def _go_on(self, found: Trace) -> int | None:
        """Let the child run to its next stop; return the signal that stopped it, None if it has ended."""
        if found.status:
            return None
        _ptrace(_SYSCALL, self._child)
        status = os.waitpid(self._child, 0)[1]
        if os.WIFSTOPPED(status):
            return os.WSTOPSIG(status)
        found.status = os.waitstatus_to_exitcode(status)
        return None

    def _kill(self, found: Trace) -> None:
        os.kill(self._child, signal.SIGKILL)
        # A child that is killed where a call begins does not make it.
        found.status = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])

    def _tear(self, call: Call) -> None:
        if call.offset >= 0 and call.data:
            descriptor = os.open(self._folder / call.file, os.O_WRONLY)
            os.pwrite(descriptor, call.data[: len(call.data) // 2], call.offset)
            os.close(descriptor)

    def _look(self) -> tuple[bool, tuple[int, ...]]:
        """Return (True, (number, arguments…)) where a call begins, (False, (result,)) where it ends."""
        _ptrace(_GET_SYSCALL_INFO, self._child, 88, ctypes.addressof(self._information))
        if self._information.raw[0] == _ENTRY:
            return True, struct.unpack_from("=7Q", self._information.raw, 24)
        return False, struct.unpack_from("=q", self._information.raw, 24)

    def _decode(self, name: str, arguments: tuple[int, ...]) -> Call | None:
        if not name:
            return None
        if name in _PATH_AT:
            text = os.pread(self._memory, 4096, arguments[_PATH_AT[name]]).split(b"\0")[0].decode()
        else:
            text = self._path_of(arguments[4 if name == "mmap" else 0])
        if name == "write" and text == "/dev/null":
            return Call("mark", os.pread(self._memory, arguments[2], arguments[1]).decode())
        path = Path(text.removesuffix(" (deleted)"))
        if path != self._folder and self._folder not in path.parents:
            return None
        call = Call(name, str(path.relative_to(self._folder)), arguments)
        if name in _TARGET_AT:
            target = Path(os.pread(self._memory, 4096, arguments[_TARGET_AT[name]]).split(b"\0")[0].decode())
            call.target = str(target.relative_to(self._folder))
        if name in ("write", "pwrite64"):
            call.data = os.pread(self._memory, arguments[2], arguments[1])
        elif name in ("writev", "pwritev", "pwritev2"):
            call.data = self._gather(arguments[1], arguments[2])
        if name in ("pwrite64", "pwritev", "pwritev2"):
            call.offset = arguments[3]
        return call

    def _path_of(self, descriptor: int) -> str:
        try:
            return str(Path(f"/proc/{self._child}/fd/{descriptor & 0xFFFFFFFF}").readlink())
        except OSError:
            return ""

    def _gather(self, vector: int, count: int) -> bytes:
        pairs = struct.unpack(f"={2 * count}Q", os.pread(self._memory, 16 * count, vector))
        return b"".join(os.pread(self._memory, size, base) for base, size in zip(pairs[::2], pairs[1::2], strict=True))
