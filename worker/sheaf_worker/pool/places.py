"""Which process has which place in the pool, and when one is started.

    vacant ──start──► has the place ──dies──► vacant
                        │  ▲  another run's module is wanted: it changes places with one in reserve (reserve.py)
                        └──┴─ its task waits for the cluster: it lends its place to another (lending.py)

A place is a number below the pool's size; the dispatcher gives items to processes that have one. Between two calls

- every place is either vacant or some process has it. After the pool has become smaller, those beyond its size go
  on until their processes have finished what they have;
- a process either has a place, under its own number, or is among those without one, with the number NOWHERE: it is in
  reserve, has lent its place, or is to end;
- a process is here from its start until remove().
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection

from sheaf_worker.pool.child_handle import NOWHERE, ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.lending import Lending
from sheaf_worker.pool.quarantine import NESTED
from sheaf_worker.pool.reserve import Reserve
from sheaf_worker.wire.channel import TaskRun

logger = logging.getLogger(__name__)

#: Seconds before a process that could not start is started again: at first, and at most.
BACK_OFF_S = (0.1, 5.0)


class Places:
    """`spawn` starts a process for a place, or for NOWHERE; it raises OSError if the system refuses one."""

    def __init__(self, size: int, spawn: Callable[[int], ChildHandle]) -> None:
        self.size = size
        self._spawn_process = spawn
        self._by_number: dict[int, ChildHandle] = {}
        self._without: list[ChildHandle] = []
        #: Places without a process, and when to start one.
        self._vacant: dict[int, float] = {}
        self._reserve = Reserve()
        self._lending = Lending()
        self._stopped = False
        #: Consecutive processes that could not be started, or died before they could work.
        self._failed_starts = 0
        #: Why, the last time; empty once one works.
        self._start_error = ""
        #: Place -> how many processes have died in it.
        self._deaths: Counter[int] = Counter()

    @property
    def children(self) -> Collection[ChildHandle]:
        """Those that have a place; a view. Other threads have to copy it before they iterate."""
        return self._by_number.values()

    @property
    def without(self) -> list[ChildHandle]:
        """Those without a place: in reserve, waiting for the cluster, or about to end."""
        return list(self._without)

    @property
    def everyone(self) -> list[ChildHandle]:
        return [*self._by_number.values(), *self._without]

    @property
    def lent(self) -> list[ChildHandle]:
        """Those that wait for the cluster and have lent their places."""
        return list(self._lending.lent)

    def deaths(self, number: int) -> int:
        """How many processes have died in this place."""
        return self._deaths[number]

    @property
    def problem(self) -> str | None:
        """Why nothing can be worked on: no process starts, not even at the second try; or all of them wait."""
        beginning = (State.STARTING, State.PREPARING)
        working = any(child.state not in beginning for child in list(self._by_number.values()))
        if working or self._failed_starts < 2 or not self._start_error:
            return self._lending.problem
        return (
            f"no process of the pool can be started ({self._start_error}); it is tried again and again. If the limits "
            "of this machine or container are reached (processes, open files, memory), raise them"
        )

    def moved(self) -> None:
        """An item was finished: waiting processes may get what they wait for."""
        self._lending.moved()

    # --- how many there are --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process for every place."""
        for number in range(self.size):
            self._start(number)

    def stop(self) -> None:
        """Start no more processes."""
        self._stopped = True

    def resize(self, size: int) -> None:
        """Have this many places. Processes beyond them finish what they have in hand, and end."""
        before, self.size = self.size, size
        for number in range(before, size):
            if number not in self._by_number:
                self._vacant.setdefault(number, 0.0)
        for number in [number for number in self._vacant if number >= size]:
            del self._vacant[number]
        for number, child in self._by_number.items():
            if number >= size:
                child.retire()
                if len(child.outstanding) > 1:
                    child.recall()

    def tend(self, now: float, *, idle: bool) -> None:
        """To be called at intervals: lend places, fill vacant ones, keep the reserve. `idle`: nothing waits."""
        if self._start_error and any(child.state is State.READY for child in self._by_number.values()):
            self._start_error = ""
        if not self._stopped:
            self._lend()
        self._keep_reserve(now, idle)
        self._fill_vacancies(now)

    def _start(self, number: int) -> None:
        self._vacant.pop(number, None)
        child = self._spawn(number)
        if child is None:
            self._vacate(number, failed=True)
        else:
            self._by_number[number] = child

    def _spawn(self, number: int) -> ChildHandle | None:
        try:
            return self._spawn_process(number)
        except OSError as error:
            logger.error("a pool process cannot be started", extra={"action": "spawn", "why": str(error)})
            self._start_error = str(error)
            return None

    def _vacate(self, number: int, *, failed: bool) -> None:
        """Have a process started here: at once, or after a while if the last one has `failed` to start."""
        self._failed_starts = self._failed_starts + 1 if failed else 0
        if not 0 <= number < self.size:
            return  # it had no place, or the pool has become smaller
        first, most = BACK_OFF_S
        delay_s = min(most, first * 2.0 ** min(self._failed_starts, 10)) if failed else 0.0
        self._vacant[number] = time.monotonic() + delay_s

    def _fill_vacancies(self, now: float) -> None:
        if not self._stopped:
            for number in [number for number, due in self._vacant.items() if due <= now]:
                self._start(number)

    # --- who has them --------------------------------------------------------------------------------------------

    def assign(self, child: ChildHandle, program: TaskRun) -> None:
        """Have the child serve this run, or give its place to one that has imported the run's module, or none."""
        if child.suits(program) and (child.module is not None or not self._reserve.has_module_of(program)):
            child.serve(program)
            return
        other = self._reserve.take(program)
        if other is None:
            other = self._spawn(child.number)
            if other is None:
                return
        else:
            self._without.remove(other)
            if other.free:
                other.serve(program)
        # The dispatcher goes through the places meanwhile: the other has to be put where this one was.
        self._take(other, child.number, for_suspects=child.for_suspects)
        self._leave(child)
        self._keep_or_end(child)

    def remove(self, child: ChildHandle, *, before: State, why: str) -> None:
        """The child has ended, for this reason, after it was in the state `before`: have another take its place."""
        number = child.number
        if child in self._without:
            self._without.remove(child)
            self._reserve.drop(child)
        else:
            del self._by_number[number]
        if before is not State.ENDING:
            self._deaths[number] += 1
        self._vacate(number, failed=before in (State.STARTING, State.PREPARING))
        if child.missing:
            self._start_error = child.missing
        elif before is State.STARTING:
            self._start_error = f"it ended before it could work: {why}"
        self._fill_vacancies(time.monotonic())
        successor = self._by_number.get(number)
        if successor is not None:
            # Suspects stay with this place, so that other items need not wait for them.
            successor.take_place(number, for_suspects=child.for_suspects)

    def clear(self) -> None:
        """All have ended."""
        self._by_number.clear()
        self._without.clear()

    def _take(self, child: ChildHandle, number: int, *, for_suspects: bool = False) -> None:
        child.take_place(number, for_suspects=for_suspects)
        self._by_number[number] = child

    def _leave(self, child: ChildHandle) -> None:
        child.leave_place()
        self._without.append(child)

    def _keep_or_end(self, child: ChildHandle) -> None:
        if not self._reserve.keep(child):
            child.end()

    def _lend(self) -> None:
        """Children that wait for the cluster make room for what they wait for."""
        for child in self._lending.to_lend(self.children, self.size):
            number = child.number
            if child.unstarted > 0:
                child.recall()
            del self._by_number[number]
            self._leave(child)
            self._lending.lent.append(child)
            # A place beyond the pool's size stays empty.
            other = self._reserve.take_fresh() if number < self.size else None
            if other is not None:
                self._without.remove(other)
                self._take(other, number)
            else:
                self._vacate(number, failed=False)
        for child in self._lending.returned():
            self._keep_or_end(child)
        hopeless = self._lending.hopeless(self.children)
        if hopeless is not None:
            hopeless.kill(NESTED)

    def _keep_reserve(self, now: float, idle: bool) -> None:
        for child in self._reserve.evict(now):
            child.end()
        if not self._stopped and self._reserve.wants(self.children, now, idle=idle):
            fresh = self._spawn(NOWHERE)
            if fresh is not None:
                self._without.append(fresh)
                self._reserve.add_fresh(fresh)
