"""Is somebody in everybody's way? Looks at an output's fence without keeping it."""

from __future__ import annotations

from pathlib import Path

from sheaf.core.errors import FenceTimeout
from sheaf.output.index.database import Index
from sheaf.output.index.lock_owner import LockOwner

#: Seconds for which a holder may have the fence before it counts as one that blocks others.
BLOCKS_S = 2.0


def blocker(output: Path) -> LockOwner | None:
    """Return who keeps the fence from all others, if anybody does. Takes a quarter of a second then, nothing otherwise.

    Raises OutputError if there is no index, or it cannot be opened.
    """
    index = Index(output, 0.0)
    try:
        before = index.note.holder()
        index.begin()
    except FenceTimeout:
        holder = index.note.holder()
        # Another one than before the wait: turns change, so nobody blocks.
        return holder if holder is not None and holder == before and holder.held_s >= BLOCKS_S else None
    finally:
        index.drop()
    return None
