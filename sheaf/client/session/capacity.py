"""How many workers there are, and how much they should have ahead."""

from __future__ import annotations

import time

from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import ClusterError
from sheaf.core.settings import Settings
from sheaf.view.presence import absence

#: Segments of one stream that are out at least, however few processes there are.
LEAST_AHEAD = 8
#: Seconds to wait for the first worker of a cluster that has just been started.
FIRST_WORKER_S = 5.0
#: Seconds between two looks.
LOOK_S = 5.0


class Capacity:
    def __init__(self, settings: Settings, queue: BatchQueue) -> None:
        self._settings = settings
        self._queue = queue
        self.workers = 1
        self.processes = 1
        self._looked = 0.0

    @property
    def ahead(self) -> int:
        """Segments of one stream that may be out: the workers should always find the next one."""
        return max(LEAST_AHEAD, 2 * self.processes + self.workers)

    def check(self) -> None:
        """Raise ClusterError if there are no workers."""
        deadline = time.monotonic() + FIRST_WORKER_S
        while not self.look():
            if time.monotonic() > deadline:
                raise ClusterError(f"nothing would be done now: {self.why_nobody()}; or use Cluster.local()")
            time.sleep(0.1)

    def look(self) -> bool:
        """Count the workers; False if there are none. Raises ClusterError if Redis does not tell."""
        self._looked = time.monotonic()
        entries = [entry for entry in self._queue.registry.workers() if not entry.silent]
        if entries:
            self.workers = len(entries)
            self.processes = sum(entry.few("pool", 1) for entry in entries)
        return bool(entries)

    def why_nobody(self) -> str:
        """What to tell a person when there are no workers. Raises ClusterError if Redis does not tell."""
        return absence(self._settings, self._queue.registry, self._queue.registry.workers()) or "they have just come"

    @property
    def due(self) -> bool:
        return time.monotonic() - self._looked >= LOOK_S
