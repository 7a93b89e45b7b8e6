"""Whether one process keeps an output's fence from all others. Looks at the fence without keeping it."""

from __future__ import annotations

from pathlib import Path

from sheaf.core.errors import FenceTimeout
from sheaf.output.index.database import Index
from sheaf.output.index.lock_owner import LockOwner

#: Seconds for which a process may have the fence before it counts as one that blocks others.
BLOCKS_S = 2.0


def blocker(output: Path) -> LockOwner | None:
    """Return which process keeps the fence from all others, if one does. Takes a quarter of a second then.

    Raises OutputError if there is no index, or it cannot be opened.
    """
    index = Index(output, 0.0)
    try:
        before = index.note.owner()
        index.begin()
    except FenceTimeout:
        owner = index.note.owner()
        # Another one than before the wait: the fence changes hands, so no process blocks it.
        return owner if owner is not None and owner == before and owner.held_s >= BLOCKS_S else None
    finally:
        index.drop()
    return None
