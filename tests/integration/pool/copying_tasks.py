"""Tasks that fork, in every way in which Python forks; tests/integration/pool/test_pool_copies.py copies this file."""

import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
fork = multiprocessing.get_context("fork")


def in_thread(call: Callable[[], T]) -> T:
    """What the call gives, in a thread that ends before we go on."""
    given: list[T] = []
    thread = threading.Thread(target=lambda: given.append(call()))
    thread.start()
    thread.join()
    return given[0]


def started(target: Callable[..., object], *arguments: object) -> ForkProcess:
    process = fork.Process(target=target, args=arguments)
    process.start()
    return process


def square(number: int) -> int:
    return number * number


def answer(text: str) -> object:
    """How a process ends that a thread has started, or what it answers."""
    if text == "process":
        process = in_thread(lambda: started(time.sleep, 0.3))
        process.join()
        return process.exitcode
    if text == "popen":
        return in_thread(lambda: subprocess.Popen(["sleep", "0.3"], preexec_fn=os.setpgrp)).wait()  # noqa: PLW1509
    if text == "executor":
        executor = ProcessPoolExecutor(1, mp_context=fork)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(lambda: executor.submit(square, 3).result()).result()
        return executor.submit(square, 4).result(timeout=30)
    if text == "alarm":
        process = in_thread(lambda: started(ring))
        process.join()
        return process.exitcode
    if text == "signals":
        process = in_thread(lambda: started(count_consumers))
        process.join()
        return process.exitcode
    return text


def ring() -> None:
    """A signal interrupts what the copy itself waits for."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    time.sleep(1000)


def count_consumers() -> None:
    """How many threads the copy has (tens), and how many of them take a signal: only ours can be woken by one."""
    blocked = [
        int(mask, 16)
        for path in Path("/proc/self/task").glob("*/status")
        for mask in re.findall(r"^SigBlk:\s*(\w+)", path.read_text(), re.MULTILINE)
    ]
    os._exit(10 * len(blocked) + sum(not mask & 1 << signal.SIGALRM - 1 for mask in blocked))


def stay(path: str) -> None:
    Path(f"{path}.{os.getpid()}").touch()
    while True:
        time.sleep(1)


def detach_and_stay(path: str) -> None:
    """In a session of its own, with everything closed that it may close, as a daemon does."""
    os.setsid()
    os.closerange(3, 256)
    stay(path)


def fork_twice(path: str) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            stay(path)
        os._exit(0)
    os.wait()


def leave(text: str) -> str:
    """Leave processes behind that only the end of ours can end, and do what was said."""
    path, how = text.split(" ")
    in_thread(lambda: started(detach_and_stay, path))
    in_thread(lambda: fork_twice(path))
    fork_twice(path)
    started(detach_and_stay, path)
    while len(list(Path(path).parent.glob(f"{Path(path).name}.*"))) < 4:
        time.sleep(0.01)
    if how == "die":
        os._exit(1)
    return "done"
