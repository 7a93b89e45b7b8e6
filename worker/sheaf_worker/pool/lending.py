"""Lends the places of processes whose task waits for the cluster, as what they wait for may need a place.

A process that waits (for results of its own calls, for a shared queue or lock) leaves its place with the items it has
begun, and another one takes it. Once it has finished them, it ends or is kept in reserve. The number of lent places is
limited. When waiting processes occupy every place and no more can be lent, that is reported as a problem, and after a
while the latest item fails, so that the others can go on (docs/decisions/0026).
"""

from __future__ import annotations

import time
from collections.abc import Collection

from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State

#: Processes of a pool that may wait without a place: at least, and per place.
LEAST, FOR_EACH = 8, 2
#: Seconds without a result and without a free place until it is reported, and until an item fails.
REPORTED_S, STUCK_S = 5.0, 60.0


def waits(child: ChildHandle) -> bool:
    """Whether all items that it has begun wait for the cluster."""
    # Called for every process at every check: most do not wait, so that their slots need not be read.
    return (
        child.waiting_threads > 0
        and child.state is State.READY
        and 0 < len(child.slots.in_hand()) <= child.waiting_threads
    )


class Lending:
    def __init__(self) -> None:
        #: Those that have lent their places.
        self.lent: list[ChildHandle] = []
        #: Since when everything waits and no place can be lent; None while there is progress.
        self._stuck: float | None = None
        self._size = 0

    def to_lend(self, children: Collection[ChildHandle], size: int) -> list[ChildHandle]:
        """Those that should lend their places now."""
        self._size = size
        waiting = [child for child in children if waits(child)]
        lend = waiting[: max(0, max(LEAST, FOR_EACH * size) - len(self.lent))]
        if len(waiting) < size or lend:
            self._stuck = None
        elif self._stuck is None:
            self._stuck = time.monotonic()
        return lend

    def moved(self) -> None:
        """An item was finished."""
        self._stuck = None

    def returned(self) -> list[ChildHandle]:
        """Those that have finished the items that waited."""
        done = [child for child in self.lent if child.state is State.GONE or child.free]
        self.lent = [child for child in self.lent if child not in done]
        return [child for child in done if child.state is not State.GONE]

    @property
    def problem(self) -> str | None:
        """Why there is no progress; None while there is."""
        if self._stuck is None or time.monotonic() - self._stuck < REPORTED_S:
            return None
        return (
            f"all {self._size} processes of this worker run tasks that wait for the cluster (for calls of their own, a "
            f"shared queue or a lock), and so do {len(self.lent)} more that have lent their places: no process is left "
            "to do what they wait for; start more workers, or make fewer tasks wait"
        )

    def hopeless(self, children: Collection[ChildHandle]) -> ChildHandle | None:
        """The one to kill so that others can go on: of those that have a place, the one that reported last."""
        if self._stuck is None or time.monotonic() - self._stuck < STUCK_S:
            return None
        self._stuck = time.monotonic()
        return max((child for child in children if waits(child)), key=lambda child: child.heard_at, default=None)
