"""Checks the children at intervals: items that take too long, children that no longer answer, memory."""

from __future__ import annotations

from collections.abc import Iterable

from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.quarantine import BROKEN_PIPE, FORGOTTEN, OVER_TASK_LIMIT, TIMED_OUT, TOO_LARGE, UNRESPONSIVE

#: Seconds between two checks.
WATCH_S = 0.1
#: A child above its limit is replaced when it is idle; one above this many times its limit is killed.
_HARD_LIMIT = 2
#: ... but not below this, which Python and a few libraries need.
_SMALLEST_BYTES = 128 << 20
#: If the last check was this long ago, the worker itself was stopped (`docker pause`), which is not the items' fault.
_BLIND_S = 2.0
#: Seconds that a child may take to start, to import its task (which may load a large model), to exit when asked to.
_LIMITS_S = {State.STARTING: 60.0, State.PREPARING: 600.0, State.ENDING: 5.0}
#: A child that has items, has begun none and has been silent for this long is asked to return them ...
_SILENT_S = 5.0
#: ... and if it has not answered after this long, it is stopped or stuck, and killed.
_ANSWER_S = 10.0
#: ... as is one that has returned nothing this many consecutive times although items are outstanding.
_EMPTY_RECALLS = 2
#: Seconds that a child has to finish its items of a forgotten run.
_FORGOTTEN_S = 1.0
#: Seconds within which a process ends after its pipe; if it does not, only the pipe was closed.
_PIPE_CLOSED_S = 0.5


class Watchdog:
    """Kills the children that have to be killed; the pool handles their end like any other."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_bytes = memory_mb << 20
        self._checked_at = 0.0
        self._blind_until = 0.0

    def due(self, now: float) -> bool:
        return now - self._checked_at >= WATCH_S

    def forgive(self, now: float) -> None:
        """Do not count the time until now: children were kept from making progress."""
        self._blind_until = now

    def check(self, children: Iterable[ChildHandle], now: float, *, watch_items: bool) -> None:
        """`watch_items`: whether children can make progress at all; they cannot while their results are not read."""
        if now - self._checked_at > _BLIND_S:
            self.forgive(now)
        self._checked_at = now
        for child in children:
            self._check(child, now)
            if watch_items and child.state is State.READY and child.outstanding:
                self._check_items(child, now)
            own_bytes = child.program.spec.memory_mb << 20 if child.program else 0
            if self._memory_bytes or own_bytes:
                self._check_memory(child, own_bytes)

    def _check_memory(self, child: ChildHandle, own_bytes: int) -> None:
        size = child.own_bytes()
        # One that has done nothing yet is as small as a child can be: replacing it would not help.
        if child.done and any(0 < limit < size for limit in (self._memory_bytes, own_bytes)):
            child.retire()
        if 0 < own_bytes < size and child.slots.in_hand():
            child.kill(OVER_TASK_LIMIT)
        if (
            self._memory_bytes
            and size > max(_HARD_LIMIT * self._memory_bytes, _SMALLEST_BYTES)
            and child.slots.in_hand()
        ):
            child.kill(TOO_LARGE)

    def _check(self, child: ChildHandle, now: float) -> None:
        waited_s = now - max(child.state_since, self._blind_until)
        if child.pipe_closed_at is not None and now - child.pipe_closed_at > _PIPE_CLOSED_S:
            child.kill(BROKEN_PIPE)
        elif child.forgotten_at is not None and now - child.forgotten_at > _FORGOTTEN_S:
            child.kill(FORGOTTEN)
        elif waited_s > _LIMITS_S.get(child.state, waited_s) and not child.outstanding:
            # A child that waits for a processor does not hang, and its successor would have to wait as well.
            starved_s = child.starved_s() if child.state is State.STARTING else 0.0
            if waited_s - starved_s > _LIMITS_S[child.state]:
                child.kill(UNRESPONSIVE)

    def _check_items(self, child: ChildHandle, now: float) -> None:
        in_hand = child.slots.in_hand()
        limit_s = child.program.spec.item_timeout_s if child.program else None
        if limit_s is not None and any(now - max(begun, self._blind_until) >= limit_s for begun in in_hand.values()):
            child.kill(TIMED_OUT)
        elif in_hand:
            return
        elif child.empty_recalls >= _EMPTY_RECALLS:
            child.kill(UNRESPONSIVE)
        elif child.recalled_at is None:
            if now - max(child.heard_at, self._blind_until) > _SILENT_S:
                child.recall()
        elif now - max(child.recalled_at, self._blind_until) > _ANSWER_S:
            child.kill(UNRESPONSIVE)
