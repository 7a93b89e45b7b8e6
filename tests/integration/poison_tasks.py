"""Tasks that harm their process in every way; `test_poison.py` copies this file into a tasks folder."""

import ctypes
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def act(text: str) -> object:
    """`what:argument` says what to do; anything else is given back."""
    what, _, argument = text.partition(":")
    action = ACTIONS.get(what)
    return action(argument) if action else text


def fill_memory(megabytes: str) -> object:
    """Allocate piece by piece, and touch it; gives up by itself before it can harm the machine."""
    held = []
    for _ in range(int(megabytes)):
        held.append(bytearray(os.urandom(1 << 16) * 16))
        time.sleep(0.002)
    return len(held)


def fork(argument: str) -> object:
    """Fork: the copy comes back from this function, too, as a task that is not careful lets it."""
    if os.fork() == 0:
        Path(argument).write_text(str(os.getpid()))
        return "copy"
    deadline = time.monotonic() + 10
    while not Path(argument).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return "original"


def fork_and_sleep(argument: str) -> object:
    """Leave three sleeping copies behind."""
    for number in range(3):
        if os.fork() == 0:
            Path(f"{argument}-{number}").write_text(str(os.getpid()))
            time.sleep(1000)
    return "original"


def leave_running(argument: str) -> object:
    """Leave a command running, in a session of its own, so that it is in no process group of ours."""
    Path(argument).write_text(str(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid))
    return "left"


def print_much(megabytes: str) -> object:
    for _ in range(int(megabytes)):
        os.write(1, b"x" * (1 << 20))
    return "printed"


ACTIONS: dict[str, Callable[[str], object]] = {
    "segfault": lambda _: ctypes.string_at(0),
    "exit": lambda code: os._exit(int(code)),
    "hang": lambda _: ctypes.PyDLL(None).sleep(1000),
    "fill": fill_memory,
    "fork": fork,
    "fork-and-sleep": fork_and_sleep,
    "leave-running": leave_running,
    "print": print_much,
}
