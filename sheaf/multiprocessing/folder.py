"""What a program has on the volume: the processes that it wants started, and, in the stack, its source.

programs/<program>/owner             locked for as long as the program lives
programs/<program>/starts/<process>  what the process is to run, signed; only the worker that takes it away may run it
programs/<program>/code/<digest>/    the program's source, where workers do not have its files
programs/.<program>                  one that is being made or removed
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from sheaf.core.file_locks import lock_file
from sheaf.core.files import exists
from sheaf.core.permissions import is_shared
from sheaf.run.sessions import share, share_folder

#: In the data folder.
PROGRAMS = "programs"
STARTS, CODE = "starts", "code"
_OWNER = "owner"
#: How programs and processes are called: nothing that leads elsewhere. So is one that is being made or removed.
NAME = re.compile("[0-9a-f]{16}")
_HIDDEN = re.compile(r"\.[0-9a-f]{16}")


class ProgramFolder:
    """A program's folder, made by the program itself. `close()` removes it; so do workers once the program has died."""

    def __init__(self, data_dir: Path, program: str) -> None:
        self.path = folder_of(data_dir, program)
        self._pid = os.getpid()
        hidden = self.path.with_name(f".{program}")
        if not exists(self.path.parent):
            self.path.parent.mkdir(exist_ok=True)
            share_folder(self.path.parent)
        for path in (hidden, hidden / STARTS, hidden / CODE):
            path.mkdir()
            share_folder(path)
        owner = lock_file(hidden / _OWNER)
        share(hidden / _OWNER)
        if owner is None:
            raise FileExistsError(f"{self.path} belongs to another program")
        self._owner = owner
        # Only now do workers see it: one whose owner is not locked they would remove.
        hidden.rename(self.path)
        os.register_at_fork(after_in_child=self._let_go)

    def close(self) -> None:
        if self._owner >= 0 and os.getpid() == self._pid:
            remove(self.path)
            self._let_go()

    def _let_go(self) -> None:
        """A process that the program has forked may outlive it, and must not count as the program."""
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1


def folder_of(data_dir: Path, program: str) -> Path:
    """Raises ValueError for what is no program's name: it may come from Redis."""
    if not NAME.fullmatch(program):
        raise ValueError(f"{program!r} is not a program's name")
    return data_dir / PROGRAMS / program


def write_start(folder: Path, process: str, parts: list[bytes]) -> None:
    """Leave what a process is to run for whichever worker comes to host it."""
    path = folder / STARTS / process
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as target:
        os.fchmod(descriptor, 0o640 if is_shared(path.parent) else 0o600)
        for part in parts:
            target.write(part)


def take_start(folder: Path, process: str) -> bytes | None:
    """Take what a process is to run; None if it is not there, or another worker was quicker: it is taken once."""
    if not NAME.fullmatch(process):
        return None
    path = folder / STARTS / process
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as source:
        content = source.read()
    try:
        # Of all who have read it, one removes it.
        path.unlink()
    except FileNotFoundError:
        return None
    return content


def withdraw_start(folder: Path, process: str) -> None:
    """The process is not to be started any more."""
    with contextlib.suppress(OSError):
        (folder / STARTS / process).unlink()


def is_alive(folder: Path) -> bool:
    """Whether the program lives, as far as its folder tells: no folder, no program."""
    try:
        descriptor = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    os.close(descriptor)
    owner = lock_file(folder / _OWNER)
    if owner is None:
        return True
    os.close(owner)
    return False


def remove(folder: Path) -> None:
    """Remove a program's folder. It gets another name first, so that nothing in it is taken for a living program's."""
    going = folder.with_name(f".{folder.name}")
    with contextlib.suppress(OSError):
        folder.rename(going)
    for path in (going, folder):
        shutil.rmtree(path, ignore_errors=True)


def sweep(data_dir: Path, old_s: float = 60.0) -> list[str]:
    """Remove the folders of programs that have died; return their names. Those being made or removed get some time."""
    swept = []
    try:
        entries = list(os.scandir(data_dir / PROGRAMS))
    except OSError:
        return []
    for entry in entries:
        folder = data_dir / PROGRAMS / entry.name
        with contextlib.suppress(OSError):
            if NAME.fullmatch(entry.name) and not is_alive(folder):
                remove(folder)
                swept.append(entry.name)
            elif _HIDDEN.fullmatch(entry.name) and _age_s(folder) > old_s and not is_alive(folder):
                shutil.rmtree(folder, ignore_errors=True)
    return swept


def _age_s(folder: Path) -> float:
    return time.time() - folder.stat().st_ctime
