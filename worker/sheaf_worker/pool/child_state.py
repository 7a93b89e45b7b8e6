"""The states of a child, and which follows which.

    state        the child                          left by (methods of ChildHandle)
    STARTING     has not been heard of              started() → IDLE
    IDLE         serves no run                      serve() → PREPARING
    PREPARING    imports its task                   ready() → READY; unassign() → IDLE
    READY        takes items                        serve() → PREPARING, when it has none; unassign() → IDLE
    ENDING       was asked to exit                  bury() → GONE
    GONE         has ended, and is reaped           -

end() leads from each of the first four to ENDING, and bury() to GONE. kill() changes no state: the pool notices the end
of a process, whatever the reason, and buries it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.Enum):
    STARTING = "starting"
    IDLE = "idle"
    PREPARING = "preparing"
    READY = "ready"
    ENDING = "ending"
    GONE = "gone"


_ENDS = frozenset({State.ENDING, State.GONE})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.STARTING: _ENDS | {State.IDLE},
    State.IDLE: _ENDS | {State.PREPARING},
    State.PREPARING: _ENDS | {State.READY, State.IDLE},
    State.READY: _ENDS | {State.PREPARING, State.IDLE},
    State.ENDING: frozenset({State.GONE}),
    State.GONE: frozenset(),
}
