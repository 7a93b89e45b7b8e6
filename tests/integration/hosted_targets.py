"""What the tests of hosted processes have run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sheaf.broker.program_processes import new_id
from sheaf.core.settings import Settings
from sheaf.multiprocessing.hosted import Hosting
from sheaf.multiprocessing.place import here


class Own:
    """An instance of a program's own class."""

    def __init__(self, text: str) -> None:
        self.text = text

    def say(self, *more: str) -> None:
        print(self.text, *more)


def say(*words: Any, **named: Any) -> None:
    print(*words, *(f"{name}={value}" for name, value in named.items()))


def complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def lines(name: str, count: int) -> None:
    for number in range(count):
        print(name, number)
        sys.stderr.write(f"{name} {number}\n")


def touch_and_wait_for(path: str, others: list[str]) -> None:
    """End only once all are there: none may have to wait for the end of another."""
    Path(path).touch()
    deadline = time.monotonic() + 120
    while not all(Path(other).exists() for other in others):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sleep(pid_file: str = "", seconds: float = 600) -> None:
    if pid_file:
        Path(pid_file).write_text(str(os.getpid()))
    time.sleep(seconds)


def fork_and_sleep(pid_file: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(pid_file).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def ignore_term(pid_file: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(pid_file)


def leave(code: Any) -> None:
    sys.exit(code)


def fail() -> None:
    raise ValueError("as it should")


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(600)


def leave_a_thread() -> None:
    def late() -> None:
        time.sleep(0.3)
        print("from the thread")

    threading.Thread(target=late).start()


def where(*names: str) -> None:
    print(Path.cwd(), sys.argv, *(os.environ.get(name) for name in names), sep="|")


def environment() -> None:
    print(sorted(os.environ))


def pieces() -> None:
    """As progress bars print."""
    for number in range(3):
        sys.stdout.write(f"\r{number}")
        sys.stdout.flush()
        time.sleep(0.3)
    print()


def long_line(size: int) -> None:
    print("x" * size + "€")


def odd_bytes() -> None:
    os.write(1, b"\xff\xfe no text\n")


def close_streams() -> None:
    os.close(1)
    os.close(2)
    time.sleep(0.2)


def touch(path: str) -> None:
    Path(path).touch()


def start_another(text: str) -> None:
    """As a process of a program does that starts one of its own."""
    place = here()
    assert place is not None
    hosting = Hosting(Settings.from_env(), place.member.connection, place.program)
    process = new_id()
    packed = place.member.pack((say, (text,), {}), process)
    print("inner", hosting.start("Process-1:1", [packed.data], process=process).wait(100))
    hosting.close()


def count(path: str) -> None:
    """Leave a trace of each time that it runs."""
    with open(path, "a") as trace:
        trace.write("ran\n")


def consume(queue: Any, results: Any, lock: Any) -> None:
    while (item := queue.get()) is not None:
        with lock:
            results.put((os.getpid(), item * item))


def hold(lock: Any, pid_file: str) -> None:
    lock.acquire()
    sleep(pid_file)
