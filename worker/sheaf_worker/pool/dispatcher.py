"""Decides which child gets which items, and when. Parties take turns (fair_share.py); suspects are served alone."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from sheaf.run.sessions import party_of
from sheaf_worker.pool.backlog import Backlog, ItemBlock
from sheaf_worker.pool.child_handle import ChildHandle, State
from sheaf_worker.pool.fair_share import FairShare
from sheaf_worker.wire.channel import TaskRun
from sheaf_worker.wire.exit_codes import Caution

#: A child that was silent for so many seconds gives back what it has not begun, if another has nothing to do.
_RECALL_S = 0.1
#: ... and after so many seconds in any case: another worker may have nothing to do.
LEND_S = 0.5
#: A child is sent at most this part of what a fair division of the rest would give it: near the end the portions become
#: small, and the children end together. (Guided self-scheduling, Polychronopoulos and Kuck 1987.)
_PART = 0.5


class Dispatcher:
    """`child_items`: replace a child after so many items (0: never). `assign` has a child serve a run, or puts
    another process in its place that suits the run.
    """

    def __init__(
        self,
        waiting: Backlog,
        size: int,
        child_items: int,
        caution: Caution,
        assign: Callable[[ChildHandle, TaskRun], None],
    ) -> None:
        self._waiting = waiting
        self._assign = assign
        self._caution = caution
        self.size = size
        self._child_items = child_items
        #: Those that are fed in this turn.
        self._children: Collection[ChildHandle] = ()
        self._turns = FairShare()
        #: Number of a child -> the party that it goes over to, as soon as it has finished what it has.
        self._bound: dict[int, str] = {}

    def feed(self, children: Collection[ChildHandle]) -> None:
        """Give every child that has room for more what it should do next."""
        self._children = children
        if self._waiting.suspects or any(child.solo for child in children):
            self._appoint(children)
        served = {child.run for child in children}
        parties = self._waiting.parties()
        self._turns.count(children, parties, time.monotonic())
        rooms = self._rooms(children)
        # What waits is divided among those that can take some, or will as soon as they are up.
        takers = self.size - sum(child.state is State.READY and not rooms[child.number] for child in children)
        for child in children:
            if child.state in (State.IDLE, State.READY):
                if child.retiring or self._left(child) <= 0:
                    self._retire(child)
                elif child.solo:
                    self._feed_alone(child)
                elif rooms[child.number] or child.free:
                    self._feed(child, self._next(child, parties, served), served, takers, rooms[child.number])
                    takers -= 1

    def _rooms(self, children: Iterable[ChildHandle]) -> dict[int, int]:
        """How many items each child should be sent now: the less is left of its run, the less."""
        if self._waiting.only_suspects:
            return {child.number: 0 for child in children}
        left: dict[str | None, int] = {}
        for child in children:
            left[child.run] = left.get(child.run, 0) + len(child.outstanding)
        most = {
            run: math.ceil(_PART * (count + (self._waiting.count(run) if run else 0)) / max(1, self.size))
            for run, count in left.items()
        }
        return {child.number: self._room(child, most[child.run]) for child in children}

    def _room(self, child: ChildHandle, most: int) -> int:
        room, limit = child.room(most), self._caution.limit(child.run)
        return room if limit is None else max(0, min(room, limit - len(child.outstanding)))

    def _serving(self, parties: Collection[str]) -> Counter[str]:
        """How many children serve each party, or are about to."""
        self._bound = {number: party for number, party in self._bound.items() if party in parties}
        own = {child.number: party_of(child.run) for child in self._children if child.run is not None}
        return Counter((own | self._bound).values())

    def _next(self, child: ChildHandle, parties: Collection[str], served: set[str | None]) -> TaskRun | None:
        """The run that the child should serve next."""
        if not parties:
            return None
        own = party_of(child.run) if child.run is not None else None
        if own is not None and own in parties and len(parties) == 1 and not self._bound:
            return self._waiting.choose(own, child.run, served)
        serving = self._serving(parties)
        party = self._bound.get(child.number)
        if party is None:
            party = self._turns.choose(own, parties, serving)
            if party != own:
                self._go_over(child, party)
        return self._waiting.choose(party, child.run, served)

    def _go_over(self, child: ChildHandle, party: str) -> None:
        self._bound[child.number] = party
        if len(child.outstanding) > len(child.slots.in_hand()):
            # What it has not begun would keep the other party waiting.
            child.recall()

    def _feed(
        self, child: ChildHandle, program: TaskRun | None, served: set[str | None], takers: int, room: int
    ) -> None:
        if program is None:
            return
        if program != child.program:
            # Until it has finished what it has of its present run, it just gets nothing more of that.
            if child.free and (child.suits(program) or self._lacks(program, child)):
                self._bound.pop(child.number, None)
                self._assign(child, program)
                served.add(program.run)
            return
        share = -(-self._waiting.count(program.run) // max(1, takers))
        count = min(room, share, self._left(child))
        if count > 0:
            child.give(self._waiting.take(program.run, count, child.room_bytes))

    def _lacks(self, program: TaskRun, child: ChildHandle) -> bool:
        """Whether the run has more items waiting than other children, which serve it or suit it, could begin.

        Not those that go over to another party: two that go over to each other's would wait for each other.
        """
        party = party_of(program.run)
        others = (
            other
            for other in self._children
            if other is not child and not other.solo and self._bound.get(other.number, party) == party
        )
        able = sum(
            other.run == program.run or other.state is State.STARTING or (other.free and other.suits(program))
            for other in others
        )
        return able < self._waiting.count(program.run)

    def _feed_alone(self, child: ChildHandle) -> None:
        if not child.free or not self._waiting.suspects:
            return
        program, item, fresh = self._waiting.suspects[0]
        if fresh and child.done:
            self._retire(child)
            return
        if program != child.program:
            self._assign(child, program)
            return
        self._waiting.suspects.popleft()
        child.give_alone(ItemBlock([item.index], [item.text]))

    def _appoint(self, children: Iterable[ChildHandle]) -> None:
        """Keep as many children for suspects as there are any, half of the pool at most."""
        wanted = min(len(self._waiting.suspects), max(1, self.size // 2))
        solo = [child for child in children if child.solo]
        if not wanted:
            for child in solo:
                child.solo = child.alone
            return
        able = [child for child in children if not child.solo and child.state in (State.IDLE, State.READY)]
        able.sort(key=lambda child: (len(child.outstanding), child.done > 0))
        for child in able[: max(0, wanted - len(solo))]:
            child.solo = True
            if child.outstanding:
                child.recall()

    def recall_idle_items(self, children: Collection[ChildHandle], now: float) -> None:
        """Have children give back what waits behind a slow item: another child could begin it, or another worker."""
        wanted_here = self._waiting.only_suspects and any(child.spare and not child.solo for child in children)
        for child in children:
            if child.alone or child.held or child.state is not State.READY:
                continue
            # What its task itself has asked for is the task's to keep, unless somebody here needs it.
            patience_s = _RECALL_S if wanted_here else LEND_S if child.adaptive else math.inf
            if now - child.heard < patience_s:
                continue
            if len(child.outstanding) > 1 and len(child.outstanding) > len(child.slots.in_hand()):
                child.recall()

    def _left(self, child: ChildHandle) -> int:
        """How many items it may still be sent before it is replaced."""
        return self._child_items - child.done - len(child.outstanding) if self._child_items else 1 << 62

    def _retire(self, child: ChildHandle) -> None:
        child.retiring = True
        if not child.outstanding:
            child.end()
