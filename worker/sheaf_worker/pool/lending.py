"""Places of processes whose task waits for the cluster: lent to others, or what it waits for might never be done.

A process that waits (for results of calls of its own, for a shared queue or lock) leaves its place, with the items it
has begun, and another one takes it. When it has finished, it ends or is kept in reserve. So many may wait at once; when
all places are taken by such as wait and no more can be lent, that is said as a problem, and after a while the item that
came last fails, so that the others go on (docs/decisions/0026).
"""

from __future__ import annotations

import time
from collections.abc import Collection

from sheaf_worker.pool.child_handle import ChildHandle, State

#: Processes of a pool that may wait without a place: at least, and for each place.
LEAST, FOR_EACH = 8, 2
#: Seconds without a result and without a place left, after which it is said, and after which an item fails.
SAID_S, STUCK_S = 5.0, 60.0


def waits(child: ChildHandle) -> bool:
    """Whether all that it has begun waits for the cluster."""
    # Asked of every process at every look around: most wait for nothing, and then their slots need not be read.
    return child.waits > 0 and child.state is State.READY and 0 < len(child.slots.in_hand()) <= child.waits


class Lending:
    def __init__(self) -> None:
        #: Those that have lent their places.
        self.lent: list[ChildHandle] = []
        #: Since when everything waits, and no place can be lent; None: it is not so.
        self._stuck: float | None = None
        self._size = 0

    def due(self, children: Collection[ChildHandle], size: int) -> list[ChildHandle]:
        """Which of those that have a place should lend it now."""
        self._size = size
        waiting = [child for child in children if waits(child)]
        lend = waiting[: max(0, max(LEAST, FOR_EACH * size) - len(self.lent))]
        if len(waiting) < size or lend:
            self._stuck = None
        elif self._stuck is None:
            self._stuck = time.monotonic()
        return lend

    def moved(self) -> None:
        """Something was finished."""
        self._stuck = None

    def back(self) -> list[ChildHandle]:
        """Those that have finished what they waited with."""
        done = [child for child in self.lent if child.gone or child.free]
        self.lent = [child for child in self.lent if child not in done]
        return [child for child in done if not child.gone]

    @property
    def problem(self) -> str | None:
        """Why nothing goes on, if so it is."""
        if self._stuck is None or time.monotonic() - self._stuck < SAID_S:
            return None
        return (
            f"all {self._size} processes of this worker run tasks that wait for the cluster (for calls of their own, a "
            f"shared queue or a lock), and so do {len(self.lent)} more that have lent their places: nothing here can "
            "do what they wait for; start more workers, or make fewer tasks wait"
        )

    def hopeless(self, children: Collection[ChildHandle]) -> ChildHandle | None:
        """The one to give up, so that others can go on: of those that have a place, the one that waits for a call."""
        if self._stuck is None or time.monotonic() - self._stuck < STUCK_S:
            return None
        self._stuck = time.monotonic()
        return max((child for child in children if waits(child)), key=lambda child: child.heard, default=None)
