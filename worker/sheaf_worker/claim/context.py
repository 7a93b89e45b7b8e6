"""What the threads of a worker share."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from sheaf.broker.queue import BatchQueue
from sheaf.core.settings import Settings
from sheaf_worker.claim.in_flight import InFlight


@dataclass(frozen=True, slots=True)
class WorkerContext:
    #: Random per boot: a worker that comes back never meets its own leftovers.
    worker_id: str
    #: The name to show for it.
    label: str
    settings: Settings
    connection: redis.Redis
    queue: BatchQueue
    in_flight: InFlight
