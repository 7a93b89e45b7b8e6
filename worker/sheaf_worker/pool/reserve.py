"""Processes of a pool without a place: fresh ones, and ones that have imported another run's module.

    place ◄──take── fresh, or has the module already          place ──keep──► has its module, for later

A process that has imported a user's module does no work for another one: what the first has changed (a decimal context,
patched sockets, gigabytes of memory) would affect the second. Some processes are kept ready, so that runs can alternate
without waiting for one to start (docs/decisions/0026).
"""

from __future__ import annotations

import time
from collections.abc import Collection

from sheaf_worker.pool.child_handle import ChildHandle, module_of
from sheaf_worker.pool.child_state import State
from sheaf_worker.wire.channel import TaskRun

#: Fresh processes that are kept ready while any has imported a user's module.
FRESH = 2
#: Processes that are kept for their module, for how many seconds, and how large they may be.
WARM, WARM_S, WARM_BYTES = 2, 60.0, 64 << 20
#: Seconds from taking one until another is started, unless the pool is idle before.
_REFILL_S = 2.0


class Reserve:
    def __init__(self) -> None:
        self._fresh: list[ChildHandle] = []
        #: Those kept for their module, oldest first, and since when.
        self._warm: dict[ChildHandle, float] = {}
        self._taken_at = 0.0

    def add_fresh(self, child: ChildHandle) -> None:
        self._fresh.append(child)

    def take(self, program: TaskRun) -> ChildHandle | None:
        """Hand out a process for this run: one that has imported its module, else a fresh one."""
        module = module_of(program)
        able = [child for child in (*self._warm, *self._fresh) if child.free and child.suits(program)]
        if not able:
            # One that is starting is ready sooner than a new one would be.
            able = [child for child in self._fresh if child.state is State.STARTING]
        if not able:
            return None
        # Among those without a module, prefer one that has never done anything: no earlier item has changed it.
        child = min(able, key=lambda child: (child.module != module, child.done > 0 and module is not None))
        self.drop(child)
        self._taken_at = time.monotonic()
        return child

    def take_fresh(self) -> ChildHandle | None:
        """Hand out a process that has done nothing yet, or is starting."""
        if not self._fresh:
            return None
        self._taken_at = time.monotonic()
        return self._fresh.pop(0)

    def has_module_of(self, program: TaskRun) -> bool:
        """Whether a process here has imported the run's module."""
        module = module_of(program)
        return module is not None and any(child.module == module and child.suits(program) for child in self._warm)

    def keep(self, child: ChildHandle) -> bool:
        """Take a process in, if it is worth keeping."""
        if not child.free or child.stateful_task or child.own_bytes() > WARM_BYTES:
            return False
        self._warm[child] = time.monotonic()
        return True

    def drop(self, child: ChildHandle) -> None:
        """It is no longer here."""
        self._warm.pop(child, None)
        if child in self._fresh:
            self._fresh.remove(child)

    def evict(self, now: float) -> list[ChildHandle]:
        """Remove and return those that should end: too old, too large, or too many."""
        evicted = {child for child, since in self._warm.items() if child.retiring or now - since > WARM_S}
        remaining = [child for child in self._warm if child not in evicted]
        evicted.update(remaining[: max(0, len(remaining) - WARM)])
        for child in evicted:
            del self._warm[child]
        return list(evicted)

    def wants(self, children: Collection[ChildHandle], now: float, *, idle: bool) -> bool:
        """Whether another fresh one should be started now. `children`: those that have a place."""
        if any(child.state is State.STARTING for child in self._fresh):
            return False
        wanted = min(FRESH, len(children)) if any(child.module for child in children) else 0
        return len(self._fresh) < wanted and (idle or now - self._taken_at > _REFILL_S)
