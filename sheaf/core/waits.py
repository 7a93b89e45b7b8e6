"""Which threads of this process wait for the cluster: for results of calls, for a shared queue or lock.

A task that does so keeps a process of a pool from doing what it waits for. The process tells its worker, which lends
the place to another (`worker/sheaf_worker/pool/lending.py`). In a program that is not a task, nothing is reported.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

#: Thread -> since when (monotonic) it waits.
_waiting: dict[int, float] = {}


class Waiting:
    """`with waiting:` around whatever waits. May be nested."""

    def __enter__(self) -> None:
        _waiting.setdefault(threading.get_ident(), time.monotonic())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _waiting.pop(threading.get_ident(), None)


waiting = Waiting()


def lasting(for_s: float) -> int:
    """How many threads have waited for at least this many seconds."""
    if not _waiting:
        return 0
    before = time.monotonic() - for_s
    return sum(since <= before for since in list(_waiting.values()))
