"""The functions that the benchmarks have Sheaf call."""

from __future__ import annotations

import asyncio
import time


def square(number: int) -> int:
    return number * number


def nothing(_: int) -> None:
    """What is left is Sheaf's own cost."""


def spin_10_ms(number: int) -> int:
    """Use a core for 10 ms of CPU time."""
    end = time.thread_time() + 0.010
    while time.thread_time() < end:
        pass
    return number


async def sleep_1_s(number: int) -> int:
    await asyncio.sleep(1)
    return number
