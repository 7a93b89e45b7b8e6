"""Are there workers? Asked in one place before "no workers" is reported: a missing entry proves nothing.

Entries in Redis expire. A Redis that takes no changes (its disk is full, it is a replica) forgets living workers one
after the other, and one that has just come back empty does not know them yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from sheaf.broker.worker_registry import WorkerInfo, WorkerRegistry
from sheaf.core.humanize import path_text
from sheaf.core.settings import Settings
from sheaf.embedded.processes import is_alive
from sheaf.embedded.state import ClusterState, Places


def absence(settings: Settings, registry: WorkerRegistry, entries: Sequence[WorkerInfo]) -> str | None:
    """Why no worker shows a sign of life, in a sentence for people; None if one does.

    `entries`: what the registry has just said. Raises ClusterError if Redis cannot be asked.
    """
    if not all(entry.silent for entry in entries):
        return None
    living, refusal = living_workers(settings), registry.refusal()
    if refusal is not None:
        who = f"{', '.join(living)} live, but cannot show it" if living else "whether workers live cannot be seen"
        return f"{who}: {refusal}"
    if living:
        logs = path_text(Places(settings.data_dir).log("worker-*"))
        return (
            f"{', '.join(living)} are alive, but not visible in Redis: for 10 s after a start, or after Redis is back, "
            f"that is normal; after that, see {logs}"
        )
    state = _state(settings)
    if state is not None and state.troubles and is_alive(state.supervisor):
        return f"no worker runs now; the supervisor goes on trying: {'; '.join(state.troubles)}"
    if entries:
        return "no worker gives a sign of life: they are stopped, dead, or cut off from Redis"
    return "no workers are running; start some with `sheaf up` or `docker compose up -d`"


def living_workers(settings: Settings) -> list[str]:
    """The embedded cluster's workers whose processes live: `worker-1 (pid 4711)`."""
    state = _state(settings)
    if state is None:
        return []
    return [f"{name} (pid {process.pid})" for name, process in sorted(state.workers().items()) if is_alive(process)]


def cluster_news(settings: Settings) -> list[str]:
    """What is wrong with the embedded cluster, and what its supervisor has done about such things lately."""
    state = _state(settings)
    return state.news() if state is not None and is_alive(state.supervisor) else []


def _state(settings: Settings) -> ClusterState | None:
    """What the supervisor last wrote down; None in a stack of containers, or without a cluster."""
    return None if settings.redis_url else ClusterState.read(Places(settings.data_dir))
