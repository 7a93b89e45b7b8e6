"""What other processes of a program do in the tests of `sheaf.multiprocessing`."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import queue
import random
import time
from dataclasses import dataclass
from typing import Any


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double))


class Colour(enum.IntEnum):
    RED = 5


@dataclass(frozen=True)
class Site:
    """An instance of the program's own class."""

    name: str
    pages: tuple[int, ...] = ()


def hold(lock: Any, ready: Any, _also: Any = None) -> None:
    """Acquire it, and never release it."""
    lock.acquire()
    ready.set()
    time.sleep(600)


def acquire_and_end(lock: Any) -> None:
    lock.acquire()


def release(lock: Any) -> None:
    lock.release()


def count_under_lock(lock: Any, value: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            value.value = value.value + 1


def echo(connection: Any) -> None:
    """Send back whatever comes, until None does or the other end is closed."""
    with connection, contextlib.suppress(EOFError):
        while (message := connection.recv()) is not None:
            connection.send(message)


def send_and_end(connection: Any, *messages: Any) -> None:
    for message in messages:
        connection.send(message)


def receive_into(connection: Any, results: Any) -> None:
    with contextlib.suppress(EOFError):
        while True:
            results.put(connection.recv())
    results.put("end")


def put_all(values: Any, *what: Any) -> None:
    for value in what:
        values.put(value)


def get_into(values: Any, results: Any) -> None:
    while (value := values.get()) is not None:
        results.put(value)


def get_and_hang(values: Any, ready: Any) -> None:
    values.get()
    ready.set()
    time.sleep(600)


def get_with_ready(values: Any, ready: Any, results: Any) -> None:
    ready.set()
    results.put(values.get())


def wait_under(condition: Any, ready: Any, results: Any) -> None:
    with condition:
        ready.release()
        results.put(condition.wait(60))


def come(barrier: Any, results: Any, times: int) -> None:
    from threading import BrokenBarrierError

    for _ in range(times):
        try:
            results.put(barrier.wait())
        except BrokenBarrierError as error:
            results.put(str(error))
            return


def square(number: int, results: Any) -> None:
    results[number] = number * number


def traffic(values: Any, given: Any, taken: Any, seed: int, count: int) -> None:
    """Put numbers of its own and take anybody's, at random; note each of them before and after."""
    choice = random.Random(seed)
    numbers = iter(range(count))
    for _ in range(4 * count):
        if choice.random() < 0.5 and (number := next(numbers, None)) is not None:
            given.append([seed, number])
            values.put((seed, number))
        else:
            with contextlib.suppress(queue.Empty):
                taken.append(values.get(timeout=0.02 * choice.random()))
