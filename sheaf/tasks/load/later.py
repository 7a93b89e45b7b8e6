"""The visits that cannot go on now: until their next attempt, until their host may be asked, until a file is free."""

from __future__ import annotations

import heapq
import itertools
import time

from sheaf.tasks.load.connections import MOST_UNASKED
from sheaf.tasks.load.errors import LoadError
from sheaf.tasks.load.failure import wait_s
from sheaf.tasks.load.hosts import Hosts
from sheaf.tasks.load.visit import Visit
from sheaf.tasks.tracebacks import FilesUsedUp

#: Of the items that a child may have, no more than a part waits for hosts that are overloaded.
_MOST_HELD = 3 * MOST_UNASKED // 4
#: When no descriptor is free for a connection: seconds until the next try, and until this process gives up.
_FILES_S, _STARVED_S = 0.2, 10.0


class Later:
    """Keeps visits until they are due."""

    def __init__(self) -> None:
        self.hosts = Hosts(_MOST_HELD)
        #: Those whose moment comes by itself. What a host holds back comes when others of that host have ended.
        self.waiting: list[tuple[float, int, Visit]] = []
        self._counter = itertools.count()
        #: Since when there is no descriptor for even one connection.
        self._starved_since: float | None = None

    @property
    def soon_s(self) -> float:
        """Seconds until the next one is due."""
        return max(self.waiting[0][0] - time.monotonic(), 0.0) if self.waiting else float("inf")

    def next(self) -> Visit | None:
        """A visit whose moment has come."""
        if self.waiting and self.waiting[0][0] <= time.monotonic():
            return heapq.heappop(self.waiting)[2]
        return None

    def try_again(self, visit: Visit, failure: LoadError) -> None:
        """Make the visit's next attempt, after a while."""
        visit.start_over()
        self._add(visit, wait_s(visit.attempt, failure))
        visit.attempt += 1

    def put_off(self, visit: Visit, others: int) -> None:
        """There was no descriptor for its connection, which counts as no attempt.

        Raises FilesUsedUp if there is none for long even beside no `others`: something else in this process has them
        all, and only another process can go on.
        """
        now = time.monotonic()
        if others or self._starved_since is None:
            self._starved_since = None if others else now
        elif now - self._starved_since > _STARVED_S:
            raise FilesUsedUp(f"{visit.url} has waited {_STARVED_S:g} s for a descriptor")
        visit.start_over()
        self._add(visit, _FILES_S)

    def _add(self, visit: Visit, seconds: float) -> None:
        heapq.heappush(self.waiting, (time.monotonic() + seconds, next(self._counter), visit))
