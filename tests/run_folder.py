"""A folder for what a run of the tests makes besides pytest's own, and a broom for what killed runs have left.

Each run has a folder of its own in the system's temporary folder, locked for as long as the run lives. Everything that
the tests start makes its temporary files in there and carries the folder's name in its environment (TMPDIR), so the
next run can tell which folders, processes and container stacks belong to no live run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

PREFIX = "sheaf-test-"
#: A stack whose run has no folder here (it may be another container's) is removed when it is older than this.
OLDEST_RUN = timedelta(hours=3)
_PROJECT = "com.docker.compose.project"


class RunFolder:
    """The temporary folder of this process and of all that it starts, until it is closed."""

    def __init__(self) -> None:
        self._parent = Path(tempfile.gettempdir())
        self._before = os.environ.get("TMPDIR")
        self.path, self._lock = _make_locked(self._parent)
        # pytest's own folders stay where a person looks for them, and pytest removes them.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(self._parent))
        _use(str(self.path))

    def sweep(self) -> None:
        """Take away what killed runs have left."""
        for folder in self._parent.glob(f"{PREFIX}*"):
            lock = _lock(folder, fcntl.LOCK_NB)
            if lock is not None:
                _clear(folder)
                os.close(lock)

    def close(self) -> None:
        _use(self._before)
        _clear(self.path)
        os.close(self._lock)


def name_stack() -> str:
    """Return a new name for a compose project; what is left of it goes when this run's folder goes."""
    run = Path(tempfile.gettempdir())
    if not run.name.startswith(PREFIX):
        return f"{PREFIX}{secrets.token_hex(4)}"
    name = f"{run.name}-{secrets.token_hex(2)}"
    (run / f"{name}.stack").touch()
    return name


def remove_stack(project: str) -> None:
    """Remove everything that a compose project of the tests consists of, whatever state it is in."""
    label = f"label={_PROJECT}={project}"
    images = _docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference=*:{project}")
    containers = set(_docker("ps", "--all", "--quiet", "--filter", label))
    # What a test started from the images, beside the stack, has no label. Not by `ancestor`: another stack's images of
    # the same code are the same images.
    for line in _docker("ps", "--all", "--format", "{{.ID}} {{.Image}}"):
        container, _, image = line.partition(" ")
        containers |= {container} if image in images else set()
    _docker_each(("rm", "--force", "--volumes"), sorted(containers))
    _docker_each(("volume", "rm", "--force"), _docker("volume", "ls", "--quiet", "--filter", label))
    _docker_each(("network", "rm"), _docker("network", "ls", "--quiet", "--filter", label))
    _docker_each(("image", "rm", "--force"), images)


def sweep_stacks() -> None:
    """Remove the old stacks of runs that this machine knows nothing of."""
    listed = _docker("ps", "--all", "--format", f'{{{{.Label "{_PROJECT}"}}}} {{{{.CreatedAt}}}}')
    for project in old_stacks(listed, datetime.now(UTC)):
        remove_stack(project)


def old_stacks(listed: list[str], now: datetime) -> set[str]:
    """Projects of the tests whose newest container is too old for a run; as in `NAME 2026-11-28 21:41:07 +0000 UTC`."""
    newest: dict[str, datetime] = {}
    for line in listed:
        project, *created = line.split(" ")
        if project.startswith(PREFIX):
            moment = datetime.strptime(" ".join(created[:3]), "%Y-%m-%d %H:%M:%S %z")
            newest[project] = max(newest.get(project, moment), moment)
    return {project for project, moment in newest.items() if now - moment > OLDEST_RUN}


def _make_locked(parent: Path) -> tuple[Path, int]:
    while True:
        # Short: the path of a unix socket in it must be shorter than 108 bytes.
        folder = parent / f"{PREFIX}{secrets.token_hex(4)}"
        # As the system's is, other users can look for their files in it.
        folder.mkdir()
        # Another run may sweep it away before it is locked.
        lock = _lock(folder, 0)
        if lock is not None:
            with contextlib.suppress(FileNotFoundError):
                folder.chmod(0o755)
                return folder, lock
            os.close(lock)


def _lock(folder: Path, flags: int) -> int | None:
    """Lock a run's folder and return the descriptor that holds the lock; None if a living run has it, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _clear(folder: Path) -> None:
    """Remove a run's folder, the processes that still work in it, and its stacks."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if _works_in(process, folder):
                    os.kill(int(process.name), signal.SIGKILL)
    for stack in folder.glob("*.stack"):
        remove_stack(stack.stem)
    shutil.rmtree(folder, ignore_errors=True)


def _works_in(process: Path, folder: Path) -> bool:
    """Whether a process was started with that temporary folder. A server writes its title over its environment."""
    if (process / "comm").read_text().strip() in ("redis-server", "valkey-server"):
        return f"{folder}/".encode() in (process / "cmdline").read_bytes()
    return f"TMPDIR={folder}".encode() in (process / "environ").read_bytes().split(b"\0")


def _use(folder: str | None) -> None:
    tempfile.tempdir = None
    if folder is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = folder


def _docker(*arguments: str) -> list[str]:
    """The lines that a docker command prints; none where it fails, as it does without an engine."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _docker_each(command: tuple[str, ...], names: list[str]) -> None:
    if names:
        _docker(*command, *names)
