"""Looks at the children from time to time: items that take too long, children that no longer answer, memory."""

from __future__ import annotations

from collections.abc import Iterable

from sheaf_worker.pool.child_handle import ChildHandle, State
from sheaf_worker.pool.quarantine import BROKEN_PIPE, FORGOTTEN, OVER_TASK_LIMIT, TIMED_OUT, TOO_LARGE, UNRESPONSIVE

#: Seconds between two looks.
WATCH_S = 0.1
#: A child that has grown beyond its limit is replaced when it is idle; beyond so many times its limit, it is killed.
_HARD_LIMIT = 2
#: ... but not below this, which Python and a library or two need.
_SMALLEST_BYTES = 128 << 20
#: If the last look was so long ago, the worker itself was held up (`docker pause`): that is not the items' fault.
_BLIND_S = 2.0
#: Seconds that a child may take to start, to import its task (which may load a large model), to exit once told to.
_LIMITS_S = {State.STARTING: 60.0, State.PREPARING: 600.0, State.ENDING: 5.0}
#: A child that has items, has begun none and was silent for so many seconds is asked for them; they go to others ...
_SILENT_S = 5.0
#: ... and if it takes so long to answer, it is stopped or stuck, and killed.
_ANSWER_S = 10.0
#: ... as is one that was asked so often, and every time had neither finished nor begun nor kept what it should have.
_AT_A_LOSS = 2
#: Seconds for which a child may finish what it has of a run that was forgotten.
_FORGOTTEN_S = 1.0
#: Seconds between the end of a child's pipe and that of its process; longer, and only the pipe was closed.
_HANG_UP_S = 0.5


class Watchdog:
    """Kills what has to be killed; the pool notices the end as it notices any other."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_bytes = memory_mb << 20
        self._looked = 0.0
        self._awake = 0.0

    def due(self, now: float) -> bool:
        return now - self._looked >= WATCH_S

    def forgive(self, now: float) -> None:
        """The time until now does not count: children were kept from making progress."""
        self._awake = now

    def look(self, children: Iterable[ChildHandle], now: float, *, watch_items: bool) -> None:
        """`watch_items`: whether children can make progress at all; they cannot while their results are not read."""
        if now - self._looked > _BLIND_S:
            self.forgive(now)
        self._looked = now
        for child in children:
            self._look_at(child, now)
            if watch_items and child.state is State.READY and child.outstanding:
                self._look_at_items(child, now)
            own_bytes = child.program.memory_mb << 20 if child.program else 0
            if self._memory_bytes or own_bytes:
                self._look_at_memory(child, own_bytes)

    def _look_at_memory(self, child: ChildHandle, own_bytes: int) -> None:
        size = child.own_bytes()
        # One that has done nothing yet is as small as a child can be.
        if child.done and any(0 < limit < size for limit in (self._memory_bytes, own_bytes)):
            child.retiring = True
        if 0 < own_bytes < size and child.slots.in_hand():
            child.kill(OVER_TASK_LIMIT)
        if (
            self._memory_bytes
            and size > max(_HARD_LIMIT * self._memory_bytes, _SMALLEST_BYTES)
            and child.slots.in_hand()
        ):
            child.kill(TOO_LARGE)

    def _look_at(self, child: ChildHandle, now: float) -> None:
        waited_s = now - max(child.since, self._awake)
        if child.hung_up is not None and now - child.hung_up > _HANG_UP_S:
            child.kill(BROKEN_PIPE)
        elif child.forgotten is not None and now - child.forgotten > _FORGOTTEN_S:
            child.kill(FORGOTTEN)
        elif waited_s > _LIMITS_S.get(child.state, waited_s) and not child.outstanding:
            # One that waits for its turn at a processor does not hang: killed, it would begin anew, and wait again.
            starved_s = child.starved_s() if child.state is State.STARTING else 0.0
            if waited_s - starved_s > _LIMITS_S[child.state]:
                child.kill(UNRESPONSIVE)

    def _look_at_items(self, child: ChildHandle, now: float) -> None:
        in_hand = child.slots.in_hand()
        limit_s = child.program.timeout_s if child.program else None
        if limit_s is not None and any(now - max(begun, self._awake) >= limit_s for begun in in_hand.values()):
            child.kill(TIMED_OUT)
        elif in_hand:
            return
        elif child.at_a_loss >= _AT_A_LOSS:
            child.kill(UNRESPONSIVE)
        elif child.recalled is None:
            if now - max(child.heard, self._awake) > _SILENT_S:
                child.recall()
        elif now - max(child.recalled, self._awake) > _ANSWER_S:
            child.kill(UNRESPONSIVE)
