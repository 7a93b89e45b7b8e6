"""`python held.py SOCKET LABEL CALLS COMMAND…`: runs a command whose system calls another process decides over.

The kernel asks that process at each of CALLS (seccomp's user notification, Linux 5.5): is it to be made, or to fail,
and how? The command's children inherit this. It needs neither a compiler nor root, and a library that calls the kernel
by itself, as SQLite does, is held like everything else. `refusals.py` is the other side.

Runs as a file of its own, so that it starts in a moment; it imports nothing of Sheaf.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Sequence

_X86_64 = """
read 0 write 1 open 2 mmap 9 pread64 17 pwrite64 18 readv 19 writev 20 pipe 22 sendfile 40 socket 41 connect 42
socketpair 53 clone 56 fork 57 vfork 58 fcntl 72 flock 73 fsync 74 fdatasync 75 truncate 76 ftruncate 77 rename 82
mkdir 83 rmdir 84 link 86 unlink 87 getdents64 217 openat 257 mkdirat 258 newfstatat 262 unlinkat 263 renameat 264
linkat 265 fallocate 285 epoll_create1 291 eventfd2 290 pipe2 293 preadv 295 pwritev 296 renameat2 316
memfd_create 319 copy_file_range 326 preadv2 327 pwritev2 328 statx 332 pidfd_open 434 clone3 435"""
_AARCH64 = """
eventfd2 19 epoll_create1 20 fcntl 25 flock 32 mkdirat 34 unlinkat 35 linkat 37 renameat 38 truncate 45 ftruncate 46
fallocate 47 openat 56 pipe2 59 getdents64 61 read 63 write 64 readv 65 writev 66 pread64 67 pwrite64 68 preadv 69
pwritev 70 sendfile 71 newfstatat 79 fsync 82 fdatasync 83 socket 198 socketpair 199 connect 203 clone 220 mmap 222
renameat2 276 memfd_create 279 copy_file_range 285 preadv2 286 pwritev2 287 statx 291 pidfd_open 434 clone3 435"""


def _numbers(table: str) -> dict[str, int]:
    words = table.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


#: Name -> number, on this machine; on a machine that is not in here nothing can be held.
NUMBERS = {"x86_64": _numbers(_X86_64), "aarch64": _numbers(_AARCH64)}.get(platform.machine(), {})
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(platform.machine(), 0)
_SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine(), -1)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
#: Where `struct seccomp_data` has a call's number, the machine, and the low half of its arguments.
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
#: Commands of fcntl that lock: of POSIX, and of an open file description.
_LOCKS = (6, 7, 37, 38)
_NO_FILE = 0xFFFFFFFF


def _program(calls: Sequence[str]) -> bytes:
    """The filter, in the kernel's own machine language: asks about `calls`, allows all others.

    Of mmap only those of a file, of fcntl only the locks: the others cannot fail, and are many.
    """
    steps = [(_LOAD, 0, 0, _MACHINE_AT), (_EQUAL, 1, 0, _ARCHITECTURE), (_RETURN, 0, 0, _ALLOW)]
    for call in calls:
        asks: list[tuple[int, int, int, int]] = [(_RETURN, 0, 0, _NOTIFY)]
        if call == "mmap":
            asks = [(_LOAD, 0, 0, _ARGUMENTS_AT + 4 * 8), (_EQUAL, 0, 1, _NO_FILE), (_RETURN, 0, 0, _ALLOW), *asks]
        elif call == "fcntl":
            locks = [(_EQUAL, len(_LOCKS) - place, 0, lock) for place, lock in enumerate(_LOCKS)]
            asks = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8), *locks, (_RETURN, 0, 0, _ALLOW), *asks]
        steps += [(_LOAD, 0, 0, _NUMBER_AT), (_EQUAL, 0, len(asks), NUMBERS[call]), *asks]
    return b"".join(struct.pack("=HBBI", *step) for step in (*steps, (_RETURN, 0, 0, _ALLOW)))


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_void_p))


def hold_myself(calls: Sequence[str]) -> int:
    """From now on the kernel asks at these calls; return the descriptor at which it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program(calls)
    memory = ctypes.create_string_buffer(program)
    asked = _Filter(len(program) // 8, ctypes.addressof(memory))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    descriptor: int = libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(asked))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")
    return descriptor


def main(address: str, label: str, calls: str, *command: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(address)
        listener = hold_myself([call for call in calls.split(",") if call in NUMBERS])
        socket.send_fds(master, [label.encode()], [listener])
    os.close(listener)
    os.execv(command[0], command)  # noqa: S606  a fixed list, as everywhere here


if __name__ == "__main__":
    main(*sys.argv[1:])
