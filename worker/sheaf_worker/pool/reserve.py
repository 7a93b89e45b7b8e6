"""Processes of a pool that have no place at the moment: fresh ones, and such as know another run's module.

    place ◄──take── fresh, or knows the module already          place ──keep──► knows its module, for later

A process that has imported a user's module does nothing of another one: what the one has changed (a decimal context,
patched sockets, gigabytes held) would be the other's. So that runs may alternate without waiting for a process to
start, some stand ready (docs/decisions/0026).
"""

from __future__ import annotations

import time
from collections.abc import Collection

from sheaf_worker.pool.child_handle import ChildHandle, State, home_of
from sheaf_worker.wire.channel import TaskRun

#: Fresh processes that stand ready while any has imported a user's module.
FRESH = 2
#: Processes that are kept for their module, for how long (s), and how large they may be.
KNOWING, KNOWING_S, KNOWING_BYTES = 2, 60.0, 64 << 20
#: Seconds after one was taken until another is started, unless there is nothing to do before.
_CALM_S = 2.0


class Reserve:
    def __init__(self) -> None:
        self._fresh: list[ChildHandle] = []
        #: Oldest first.
        self._knowing: list[ChildHandle] = []
        self._taken = 0.0

    def add_fresh(self, child: ChildHandle) -> None:
        self._fresh.append(child)

    def take(self, program: TaskRun) -> ChildHandle | None:
        """Hand out a process for this: one that has done such work before, else a fresh one."""
        home = home_of(program)
        able = [child for child in (*self._knowing, *self._fresh) if child.free and child.suits(program)]
        if not able:
            # One that is about to be up is there sooner than another would be.
            able = [child for child in self._fresh if child.state is State.STARTING]
        if not able:
            return None
        # Of those that know nothing yet, one that has never done anything: what others did before may come again.
        child = min(able, key=lambda child: (child.home != home, child.done > 0 and home is not None))
        self.drop(child)
        self._taken = time.monotonic()
        return child

    def take_fresh(self) -> ChildHandle | None:
        """Hand out a process that has done nothing yet, or is about to be up."""
        if not self._fresh:
            return None
        self._taken = time.monotonic()
        return self._fresh.pop(0)

    def knows(self, program: TaskRun) -> bool:
        """Whether a process is here that has imported the run's module."""
        home = home_of(program)
        return home is not None and any(child.home == home and child.suits(program) for child in self._knowing)

    def keep(self, child: ChildHandle) -> bool:
        """Take a process in, if it is worth it."""
        if not child.free or child.keeps or child.own_bytes() > KNOWING_BYTES:
            return False
        child.since = time.monotonic()
        self._knowing.append(child)
        return True

    def drop(self, child: ChildHandle) -> None:
        """It is no longer here."""
        for children in (self._fresh, self._knowing):
            if child in children:
                children.remove(child)

    def sift(self, now: float) -> list[ChildHandle]:
        """Take out those that are to end."""
        late = [child for child in self._knowing if child.retiring or now - child.since > KNOWING_S]
        late += self._knowing[: max(0, len(self._knowing) - KNOWING - len(late))]
        for child in set(late):
            self._knowing.remove(child)
        return list(set(late))

    def wants(self, children: Collection[ChildHandle], now: float, *, idle: bool) -> bool:
        """Whether another fresh one should be started now. `children`: those that have a place."""
        if any(child.state is State.STARTING for child in self._fresh):
            return False
        wanted = min(FRESH, len(children)) if any(child.home for child in children) else 0
        return len(self._fresh) < wanted and (idle or now - self._taken > _CALM_S)
