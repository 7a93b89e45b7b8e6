"""A worker one part of which breaks once FLAG exists: `python breaking_worker.py FLAG PART HOW`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import sheaf.broker.lock
from sheaf.output.output import Output
from sheaf_worker import __main__, vitals
from sheaf_worker.claim import progress_watchdog
from sheaf_worker.claim.fetcher import Fetcher
from sheaf_worker.claim.heartbeat import Heartbeat
from sheaf_worker.claim.recovery import Recovery
from sheaf_worker.commit.committer import Committer
from sheaf_worker.pool.pool import Pool
from sheaf_worker.vitals import Vitals
from sheaf_worker.worker import Worker

#: Part -> what each of its turns calls.
PLACES: dict[str, tuple[Any, str]] = {
    "main": (Worker, "_iterate"),
    "main-end": (Worker, "_end"),
    "pool": (Pool, "poll"),
    "committer": (Committer, "_by_output"),
    "commit": (Output, "commit"),
    "heartbeat": (Heartbeat, "_beat"),
    "fetcher": (Fetcher, "_step"),
    "recovery": (Recovery, "_pass"),
    "renewer": (sheaf.broker.lock._Renewer, "_next"),
    "vitals": (Vitals, "_look"),
}


class Odd(Exception):
    """One whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def break_down(how: str) -> NoReturn:
    if how == "hangs":
        while True:
            time.sleep(3600)
    raise {
        "raises": RuntimeError("broken on\npurpose \x1b[31m"),
        "exits": SystemExit(0),
        "is out of memory": MemoryError(),
        "has no text": Odd(),
    }[how]


def broken(original: Callable[..., Any], flag: Path, how: str) -> Callable[..., Any]:
    def step(*arguments: Any, **keywords: Any) -> Any:
        if flag.exists():
            break_down(how)
        return original(*arguments, **keywords)

    return step


if __name__ == "__main__":
    flag, part, how = sys.argv[1:]
    owner, name = PLACES[part]
    vitals.STUCK_S = 2.0
    progress_watchdog.STALL_S = progress_watchdog.CHECK_S = 2.0
    setattr(owner, name, broken(getattr(owner, name), Path(flag), how))
    __main__.main()
