"""Functions that the tests of the Python interface have workers call."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def divide(dividend: int, divisor: int) -> float:
    return dividend / divisor


def reject_threes(number: int) -> int:
    if number % 10 == 3:
        raise ValueError(f"{number} ends in a three")
    return number


def nap(number: int, seconds: float = 0.01) -> int:
    time.sleep(seconds)
    return number


def wait_for(path: str) -> str:
    """Come to an end when the file is there."""
    deadline = time.monotonic() + 60
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path


def as_bytes(text: str) -> bytes:
    return text.encode()


def count_up(number: int) -> int:
    from sheaf import Cluster

    with Cluster() as cluster:
        return cluster.counter("ups").add()


_met: list[int] = []


async def meet(number: int) -> int:
    """Come to an end when twenty of these are under way in this process."""
    _met.append(number)
    deadline = time.monotonic() + 60
    while len(_met) < 20:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return number
