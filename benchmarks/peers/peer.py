"""What the peers share: `python benchmarks/peers/X_peer.py VARIANT --items N [--singles N]`, with PEER_REDIS_URL set.

Each peer starts its own workers, warms them up, then is timed from the first submission to the last result in the
submitter's hands, in order, checked. `--singles`: one call at a time instead, each timed from submission to result.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

REDIS_URL = os.environ.get("PEER_REDIS_URL", "redis://127.0.0.1:6379/0")
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
#: Calls before the clock starts: connections are open then, modules imported, processes forked.
WARM_UP = 20
#: Seconds after each single call, so that the next one finds everybody idle.
PAUSE_S = 0.005


def square(number: int) -> int:
    return number * number


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to use a peer: its workers, and how many calls at once are made of it."""

    start: Callable[[], AbstractContextManager[object]]
    #: Returns the squares of the first numbers, in order.
    many: Callable[[int], list[int]]
    #: Returns one square; None where single calls are not the peer's business.
    one: Callable[[int], int] | None = None


@contextmanager
def processes(*commands: list[str]) -> Iterator[None]:
    """Workers as subprocesses in this folder, stopped at the end."""
    started = [
        subprocess.Popen(
            [BIN / command[0], *command[1:]], cwd=HERE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(package: str | None, variants: Mapping[str, Variant]) -> None:
    """`package`: whose version is said; None: Python's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=variants)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--singles", type=int, default=0)
    options = parser.parse_args()
    variant = variants[options.variant]
    said: dict[str, object] = {"version": metadata.version(package) if package else platform.python_version()}
    with variant.start():
        assert variant.many(WARM_UP) == [square(number) for number in range(WARM_UP)]
        said |= singles(variant, options.singles) if options.singles else many(variant, options.items)
    print(json.dumps(said))


def many(variant: Variant, items: int) -> dict[str, object]:
    start = time.perf_counter()
    found = variant.many(items)
    seconds = time.perf_counter() - start
    if list(found) != [square(number) for number in range(items)]:
        raise SystemExit("wrong results")
    return {"run_s": seconds}


def singles(variant: Variant, count: int) -> dict[str, object]:
    assert variant.one is not None
    times_ms = []
    for number in range(count):
        start = time.perf_counter()
        found = variant.one(number)
        times_ms.append((time.perf_counter() - start) * 1000)
        if found != square(number):
            raise SystemExit("wrong result")
        time.sleep(PAUSE_S)
    return {"times_ms": times_ms}
