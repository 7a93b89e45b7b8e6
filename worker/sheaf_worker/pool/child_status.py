"""What `sheaf status` shows of a child."""

from __future__ import annotations

from dataclasses import dataclass

from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State


@dataclass(frozen=True, slots=True)
class ChildStatus:
    pid: int
    #: The run it serves.
    run: str | None
    #: Items sent to it that have no result yet.
    in_hand: int
    #: Seconds for which it has had its oldest item in hand.
    busy_s: float
    #: Its private memory; mapped files and shared memory do not count.
    own_bytes: int
    #: Results since its start.
    done: int
    #: How many processes have died before it in this place of the pool.
    deaths: int

    @classmethod
    def of(cls, child: ChildHandle, now: float, deaths: int) -> ChildStatus:
        in_hand = child.slots.in_hand()
        return cls(
            pid=child.pid,
            run=child.run,
            in_hand=len(child.outstanding),
            busy_s=max(0.0, now - min(in_hand.values(), default=now)),  # one may only wait for its next try
            own_bytes=child.own_bytes(),
            done=child.done,
            deaths=deaths,
        )


def choices_of(child: ChildHandle) -> list[tuple[str, str, str]]:
    """How many items it is sent ahead and why, and what its task has chosen: name, value, reason."""
    if child.program is None or child.state is not State.READY:
        return []
    return [child.prefetch.choice(child.program.spec.task), *child.task_choices]
