"""The sessions of programs on the volume: where `sheaf.client` keeps the runs it cuts a program's calls into.

sessions/<session>/owner          locked for as long as the program lives: what a killed one left is swept away
sessions/<session>/runs/<number>  a segment: an ordinary run, whose name is `<session>-<number>`
sessions/<session>/results-1.jsonl, …  the session's outputs, one after another, with their indexes
sessions/.<session>               one that is being removed
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from sheaf.core.file_locks import held, lock_file
from sheaf.core.files import exists, is_dir, is_file, is_folder
from sheaf.core.permissions import is_shared

#: Programs' runs are in this folder of the data folder, by session; their names begin with the session's.
SESSIONS = "sessions"
SESSION_PREFIX = "session-"

_OWNER = "owner"
#: How sessions and their segments are called.
_SESSION = re.compile(re.escape(SESSION_PREFIX) + "[A-Za-z0-9-]{1,100}")
_NUMBER = re.compile("0|[1-9][0-9]{0,14}")


def session_of(run: str) -> str | None:
    """The session that a run of this name belongs to; None for a run that a person has submitted.

    Code that has the run's manifest asks that (`session`, `durable`, `party`). Only a name is at hand where the run's
    folder is looked up, and wherever batches are many: the queue knows them by their ids, the pool shares its time by
    them, and neither can open a manifest for each.
    """
    return run.rpartition("-")[0] if run.startswith(SESSION_PREFIX) else None


def party_of(run: str) -> str:
    """`Manifest.party` of a run of which only the name is at hand."""
    return session_of(run) or run


def list_segments(data_dir: Path) -> list[str]:
    """The names of all whole runs of all sessions, each session's oldest first."""
    segments = []
    for session in _names(data_dir / SESSIONS, _SESSION):
        numbers = [int(name) for name in _names(data_dir / SESSIONS / session / "runs", _NUMBER)]
        segments += [f"{session}-{number}" for number in sorted(numbers)]
    return segments


def _names(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """The folders of such names; anything else there is not ours, and what cannot be examined is skipped."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if pattern.fullmatch(entry.name) and is_folder(entry))
    except OSError:
        return []


def create_session(data_dir: Path, name: str) -> tuple[Path, int]:
    """Make a session's folder, and sweep away those of programs that were killed.

    Returns the folder, and the descriptor that keeps it from being swept: close it when the session ends.
    """
    folder = data_dir / SESSIONS / name
    with _sessions_locked(data_dir):
        _sweep(data_dir)
        for path in (folder, folder / "runs"):
            path.mkdir()
            share_folder(path)
        owner = _lock(folder / _OWNER)
    if owner is None:
        raise FileExistsError(f"{folder} belongs to another session")
    return folder, owner


def remove_session(folder: Path) -> None:
    """Remove a session's folder with all that is in it; what workers still do for it, they do for nothing.

    It gets another name first: what a worker made in it meanwhile would keep the folder from going.
    """
    going = folder.with_name(f".{folder.name}")
    with contextlib.suppress(OSError):
        folder.rename(going)
    for path in (going, folder):
        shutil.rmtree(path, ignore_errors=True)


def keep_session(folder: Path) -> None:
    """Keep the folder of a session that has ended, for a person to look at: it is not swept away."""
    (folder / _OWNER).unlink(missing_ok=True)


def share_folder(path: Path) -> None:
    """A folder that we have made is for those whom the folder around it is for, whatever this program's umask is."""
    # A set-group-id bit, which hands the group on to what is made in it, stays.
    bits = stat.S_IMODE(path.stat().st_mode)
    path.chmod(bits | 0o775 if is_shared(path.parent) else (bits & ~0o077) | 0o700)


def share(path: Path) -> None:
    """The same for a file that we have made."""
    with contextlib.suppress(FileNotFoundError):
        path.chmod(_file_mode(path))


def _file_mode(path: Path) -> int:
    return 0o664 if is_shared(path.parent) else 0o600


@contextlib.contextmanager
def _sessions_locked(data_dir: Path) -> Iterator[None]:
    """One program at a time makes sessions and sweeps."""
    folder = data_dir / SESSIONS
    if not exists(folder):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            share_folder(folder)
    mode = _file_mode(folder / ".lock")
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    with contextlib.suppress(PermissionError):
        # Its owner shares it, whatever the umask; other users cannot change it.
        os.fchmod(descriptor, mode)
    with held(descriptor):
        yield


def leftovers(data_dir: Path) -> list[Path]:
    """The folders of sessions whose programs have died, or that were being removed."""
    sessions = data_dir / SESSIONS
    return [*sessions.glob(f".{SESSION_PREFIX}*"), *(sessions / name for name, _ in _dead(data_dir))]


def sweep(data_dir: Path) -> None:
    """Remove what leftovers() names."""
    if is_dir(data_dir / SESSIONS):
        with _sessions_locked(data_dir):
            _sweep(data_dir)


def _sweep(data_dir: Path) -> None:
    for folder in (data_dir / SESSIONS).glob(f".{SESSION_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for session, _ in _dead(data_dir):
        with contextlib.suppress(OSError):
            remove_session(data_dir / SESSIONS / session)


def _dead(data_dir: Path) -> Iterator[tuple[str, int]]:
    """Sessions of which no program lives, each locked while it is looked at."""
    for session in _names(data_dir / SESSIONS, _SESSION):
        folder = data_dir / SESSIONS / session
        # Another kind of thing in its place is not ours to remove, and keeps no other session from its start.
        with contextlib.suppress(OSError):
            if is_file(folder / _OWNER):
                owner = _lock(folder / _OWNER)
                if owner is not None:
                    try:
                        yield session, owner
                    finally:
                        os.close(owner)


def _lock(path: Path) -> int | None:
    """Lock a file until the descriptor is closed or this process ends; None if another process has it locked."""
    return lock_file(path, _file_mode(path))
