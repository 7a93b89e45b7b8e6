"""Tasks that behave well, and tasks that do not; the pool's tests copy this file into a tasks folder."""

import contextlib
import ctypes
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path


def echo(text: str) -> object:
    return text


def act(text: str) -> object:
    """`what:argument` says what to do; anything else is given back."""
    what, _, argument = text.partition(":")
    action = ACTIONS.get(what)
    return action(argument) if action else text


def note(argument: str) -> object:
    """Append a line to a file and say who did it."""
    with Path(argument).open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    return os.getpid()


def die_once(argument: str) -> object:
    """Kill this process, but only the first time."""
    try:
        Path(argument).touch(exist_ok=False)
    except FileExistsError:
        return "survived"
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def sleep(argument: str) -> object:
    time.sleep(float(argument))
    return argument


def hold(argument: str) -> None:
    """Say who we are, then sleep for ever."""
    note(argument)
    time.sleep(1000)


def hang(argument: str) -> None:
    """Say who we are, then block in native code without letting another thread run."""
    note(argument)
    ctypes.PyDLL(None).sleep(1000)


def late_kill(_: str) -> None:
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_later(delay_s: str) -> object:
    """Leave a thread behind that kills this process when the item is long done."""

    def wait_and_kill() -> None:
        time.sleep(float(delay_s))
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_and_kill).start()
    return "done"


def spoil_pipe(text: str) -> object:
    """Write into every socket that is open here; the pipe to the worker is one."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("socket:"):
                os.write(int(link.name), text.encode("latin-1"))
    return "written"


def drain_pipe(_: str) -> object:
    """Read from every socket that is open here what is meant for others."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("socket:"):
                os.set_blocking(int(link.name), False)
                os.read(int(link.name), 3)
    return "read"


def swallow_message(mark: str) -> object:
    """Wait until something comes by one of the sockets, and take all of it."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_socket()]
    Path(mark).touch()
    ready, _, _ = select.select([int(link.name) for link in links], [], [], 60)
    return sum(len(os.read(descriptor, 1 << 20)) for descriptor in ready)


def look_into(path: str) -> object:
    """Read a file by way of a mapping, and keep it mapped for a while."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        total = sum(pages[place] for place in range(0, len(pages), 4096))
        time.sleep(0.5)
        return total


def leave_behind(argument: str) -> None:
    """Start a process that outlives us, say which, and die."""
    child = subprocess.Popen(["sleep", "1000"])
    Path(argument).write_text(str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def close_all(_: str) -> None:
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    time.sleep(1000)


ACTIONS: dict[str, Callable[[str], object]] = {
    "note": note,
    "die-once": die_once,
    "sleep": sleep,
    "hold": hold,
    "hang": hang,
    "late-kill": late_kill,
    "leave-behind": leave_behind,
    "kill-later": kill_later,
    "spoil-pipe": spoil_pipe,
    "drain-pipe": drain_pipe,
    "swallow": swallow_message,
    "close-and-go": lambda _: os.closerange(3, 1000),
    "look-into": look_into,
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda code: os._exit(int(code)),
    "leave": lambda code: sys.exit(int(code)),
    "segfault": lambda _: ctypes.string_at(0),
    "raise": lambda text: 1 / 0,
    "oom-score": lambda _: int(Path("/proc/self/oom_score_adj").read_text()),
    "pid": lambda _: os.getpid(),
    "big": lambda size: "x" * int(size),
    "length": len,
    "close-all": close_all,
    "print": lambda size: print("x" * int(size)),
    "modules": lambda _: sorted(name for name in ("redis", "rq", "click", "rich") if name in sys.modules),
}
