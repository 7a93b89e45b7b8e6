"""Decides which child gets which items, and when. Parties share the time (fair_share.py); suspects are done alone."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from sheaf.run.sessions import party_of
from sheaf_worker.pool.attempts import Bisection
from sheaf_worker.pool.backlog import Backlog, ItemBlock
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.fair_share import FairShare
from sheaf_worker.wire.channel import TaskRun

#: A child that has been silent for this long returns what it has not begun, if another one is idle.
_RECALL_S = 0.1
#: ... and after this long in any case: another worker may be idle.
RELEASE_S = 0.5
#: A child is sent at most this fraction of its fair share of what is left: near the end the portions become small, so
#: that the children finish together. (Guided self-scheduling, Polychronopoulos and Kuck 1987.)
_FRACTION = 0.5


class Dispatcher:
    """`child_items`: replace a child after this many items (0: never). `assign` has a child serve a run, or replaces it
    by another process that suits the run.
    """

    def __init__(
        self,
        backlog: Backlog,
        size: int,
        child_items: int,
        bisection: Bisection,
        assign: Callable[[ChildHandle, TaskRun], None],
    ) -> None:
        self._backlog = backlog
        self._assign = assign
        self._bisection = bisection
        self.size = size
        self._child_items = child_items
        #: The children to choose for.
        self._children: Collection[ChildHandle] = ()
        self._fair_share = FairShare()
        #: Number of a child -> the party that it moves to once it has finished its present items.
        self._moving: dict[int, str] = {}

    def dispatch(self, children: Collection[ChildHandle]) -> None:
        """Give every child that has room its next items."""
        self._children = children
        if self._backlog.suspects or any(child.for_suspects for child in children):
            self._reserve_for_suspects(children)
        served = {child.run for child in children}
        parties = self._backlog.parties()
        self._fair_share.count(children, parties, time.monotonic())
        rooms = self._rooms(children)
        # The backlog is divided among the children that can take items now, or will once they are up.
        candidates = self.size - sum(child.state is State.READY and not rooms[child.number] for child in children)
        for child in children:
            if child.state in (State.IDLE, State.READY):
                if child.retiring or self._left(child) <= 0:
                    self._retire(child)
                elif child.for_suspects:
                    self._serve_suspect(child)
                elif rooms[child.number] or child.free:
                    self._serve(child, self._next(child, parties, served), served, candidates, rooms[child.number])
                    candidates -= 1

    def _rooms(self, children: Iterable[ChildHandle]) -> dict[int, int]:
        """How many items each child should be sent now; the less is left of its run, the fewer."""
        if self._backlog.only_suspects:
            return {child.number: 0 for child in children}
        left: dict[str | None, int] = {}
        for child in children:
            left[child.run] = left.get(child.run, 0) + len(child.outstanding)
        most = {
            run: math.ceil(_FRACTION * (count + (self._backlog.count(run) if run else 0)) / max(1, self.size))
            for run, count in left.items()
        }
        return {child.number: self._room(child, most[child.run]) for child in children}

    def _room(self, child: ChildHandle, most: int) -> int:
        room, limit = child.room(most), self._bisection.limit(child.run)
        return room if limit is None else max(0, min(room, limit - len(child.outstanding)))

    def _serving(self, parties: Collection[str]) -> Counter[str]:
        """How many children serve each party, or are about to."""
        self._moving = {number: party for number, party in self._moving.items() if party in parties}
        own = {child.number: party_of(child.run) for child in self._children if child.run is not None}
        return Counter((own | self._moving).values())

    def _next(self, child: ChildHandle, parties: Collection[str], served: set[str | None]) -> TaskRun | None:
        """The run that the child should serve next."""
        if not parties:
            return None
        own = party_of(child.run) if child.run is not None else None
        if own is not None and own in parties and len(parties) == 1 and not self._moving:
            return self._backlog.choose(own, child.run, served)
        serving = self._serving(parties)
        party = self._moving.get(child.number)
        if party is None:
            party = self._fair_share.choose(own, parties, serving)
            if party != own:
                self._move(child, party)
        return self._backlog.choose(party, child.run, served)

    def _move(self, child: ChildHandle, party: str) -> None:
        self._moving[child.number] = party
        if child.unstarted > 0:
            # The items that it has not begun would keep the other party waiting.
            child.recall()

    def _serve(
        self, child: ChildHandle, program: TaskRun | None, served: set[str | None], candidates: int, room: int
    ) -> None:
        if program is None:
            return
        if program != child.program:
            # It gets nothing more until it has finished its items of the present run.
            if child.free and (child.suits(program) or self._needs_more(program, child)):
                self._moving.pop(child.number, None)
                self._assign(child, program)
                served.add(program.run)
            return
        portion = -(-self._backlog.count(program.run) // max(1, candidates))
        count = min(room, portion, self._left(child))
        if count > 0:
            child.give(self._backlog.take(program.run, count, child.room_bytes))

    def _needs_more(self, program: TaskRun, child: ChildHandle) -> bool:
        """Whether the run has more items waiting than other children, which serve it or suit it, could begin.

        Children that are moving to another party do not count: two moving to each other's would wait for each other.
        """
        party = party_of(program.run)
        others = (
            other
            for other in self._children
            if other is not child and not other.for_suspects and self._moving.get(other.number, party) == party
        )
        able = sum(
            other.run == program.run or other.state is State.STARTING or (other.free and other.suits(program))
            for other in others
        )
        return able < self._backlog.count(program.run)

    def _serve_suspect(self, child: ChildHandle) -> None:
        if not child.free or not self._backlog.suspects:
            return
        program, item, fresh = self._backlog.suspects[0]
        if fresh and child.done:
            self._retire(child)
            return
        if program != child.program:
            self._assign(child, program)
            return
        self._backlog.suspects.popleft()
        child.give_alone(ItemBlock([item.index], [item.text]))

    def _reserve_for_suspects(self, children: Iterable[ChildHandle]) -> None:
        """Reserve a child for each suspect, half of the pool at most."""
        wanted = min(len(self._backlog.suspects), max(1, self.size // 2))
        reserved = [child for child in children if child.for_suspects]
        if not wanted:
            for child in reserved:
                child.unreserve()
            return
        able = [child for child in children if not child.for_suspects and child.state in (State.IDLE, State.READY)]
        able.sort(key=lambda child: (len(child.outstanding), child.done > 0))
        for child in able[: max(0, wanted - len(reserved))]:
            child.reserve_for_suspects()

    def recall_idle_items(self, children: Collection[ChildHandle], now: float) -> None:
        """Recall items that wait after a slow one: another child, or another worker, could begin them."""
        wanted_here = self._backlog.only_suspects and any(child.spare and not child.for_suspects for child in children)
        for child in children:
            if child.alone or child.on_hold or child.state is not State.READY:
                continue
            # A task keeps the window that it has asked for, unless a child of this pool is idle.
            silence_s = _RECALL_S if wanted_here else RELEASE_S if child.prefetch.adaptive else math.inf
            if now - child.heard_at < silence_s:
                continue
            if len(child.outstanding) > 1 and child.unstarted > 0:
                child.recall()

    def _left(self, child: ChildHandle) -> int:
        """How many items it may still be sent before it is replaced."""
        return self._child_items - child.done - len(child.outstanding) if self._child_items else 1 << 62

    def _retire(self, child: ChildHandle) -> None:
        child.retire()
        if not child.outstanding:
            child.end()
