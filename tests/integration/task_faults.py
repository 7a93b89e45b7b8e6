"""Tasks that behave badly, each in its own way; tests/integration/test_task_faults.py copies this file."""

import asyncio
import os
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from sheaf import task

left_open: list[int] = []


def act(text: str) -> object:
    """`what:argument` says what to do; anything else is given back."""
    what, _, argument = text.partition(":")
    action = ACTIONS.get(what)
    return action(argument) if action else text


def leak(count: str) -> object:
    """Leave this many files open; say how many files this process may have open."""
    left_open.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(int(count)))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def walk(folder: str) -> object:
    os.chdir(folder)
    return str(Path.cwd())


def start_thread(_: str) -> object:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return threading.active_count() > 1


def grow(megabytes: int) -> object:
    hoard = [b"x" * (1 << 20) for _ in range(megabytes)]
    time.sleep(20)
    return len(hoard)


ACTIONS: dict[str, Callable[[str], object]] = {
    "leak": leak,
    "walk": walk,
    "where": lambda _: str(Path.cwd()),
    "thread": start_thread,
    "print": lambda text: print("printed", text),
    "exit": lambda code: sys.exit(int(code)),
    "set": lambda _: {1, 2},
    "nan": lambda _: [float("nan")],
    "object": lambda _: [object()],
    "bytes": lambda _: b"\xff\x00",
    "surrogate": lambda _: "a\ud800b",
    "raise": lambda text: 1 + int(text),
    "length": len,
}


@task(memory_mb=150, attempts=2)
def fill(text: str) -> object:
    return grow(500) if text == "grow" else text


@task(concurrency=20, attempts=3, backoff_s=0.05, timeout_s=1)
async def fetch(text: str) -> object:
    if text == "block":
        time.sleep(1000)
    await asyncio.sleep(0.1)
    if text == "raise":
        raise ConnectionError("no answer")
    return [text, os.getpid()]


class Panic(BaseException):
    """As an extension in Rust raises it."""


@task(concurrency=5)
async def panics(text: str) -> object:
    await asyncio.sleep(0.01)
    if text == "panic":
        raise Panic("boom \ud800\0")
    if text == "interrupt":
        raise KeyboardInterrupt
    if text == "beside":
        beside = asyncio.create_task(exits())
        await asyncio.sleep(0.1)
        return str(beside)
    return text


async def exits() -> None:
    sys.exit("beside")


def open_nothing() -> None:
    raise Panic("no model")


@task(setup=open_nothing)
def without_model(text: str, model: object) -> object:
    return text


def open_log() -> Iterator[Path]:
    """Say in a file when this child begins and ends."""
    path = Path(os.environ["OPEN_LOG"])
    with path.open("a") as log:
        log.write("open\n")
    yield path
    with path.open("a") as log:
        log.write("close\n")


@task(stream=True, setup=open_log)
def double(items: Iterator[str], log: Path) -> Iterator[str]:
    held = []
    for item in items:
        held.append(item)
        if len(held) > 5:
            yield answer(held.pop(0))
    while held:
        yield answer(held.pop(0))


def answer(item: str) -> str:
    if item == "bad":
        raise ValueError("bad")
    return item * 2


@task(stream=True, concurrency=20)
def forgetful(items: Iterator[str]) -> Iterator[str]:
    """Always some items behind, and gives nothing for every hundredth."""
    begun: deque[str] = deque()
    for item in items:
        if not item.endswith("55"):
            begun.append(item)
        if len(begun) > 12:
            yield begun.popleft() * 2
    while begun:
        yield begun.popleft() * 2


@task(stream=True, timeout_s=1)
def never_back(items: Iterator[str]) -> Iterator[str]:
    """Gives all values, and does not come back from the last one."""
    for item in items:
        yield item * 2
        if item == "hang":
            time.sleep(1000)


@task(attempts=2, backoff_s=0.3, timeout_s=1.5)
def patient(text: str) -> str:
    if text == "hang":
        time.sleep(1000)
    if text == "slow":
        time.sleep(0.8)
        raise ValueError("slow")
    return text
