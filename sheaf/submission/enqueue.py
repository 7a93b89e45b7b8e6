"""The end of step 1: put a run's first batches on the queue. The workers' reconciler tops it up from then on."""

from __future__ import annotations

import secrets
import socket

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.broker.lock import FairLock
from sheaf.broker.queue import BatchQueue
from sheaf.broker.rq_queue import import_rq_queue
from sheaf.core.errors import LockTimeout, RedisUnavailable
from sheaf.core.settings import Settings
from sheaf.run.run import Run
from sheaf.scheduling.reconciler import Reconciler

#: Seconds to wait for another process that is filling the queue. After that both do: a batch may then be queued twice,
#: which does no harm, and is better than a run that does not begin.
LOCK_WAIT_S = 0.3


def check_cluster(settings: Settings, connection: redis.Redis) -> None:
    """Raise what would go wrong later now, before a long list is read and a run is written.

    That is a SettingsError for RQ's keys, or a ClusterError if Redis cannot be reached or refuses us.
    """
    import_rq_queue()
    try:
        with redis_errors():
            connection.ping()
    except RedisUnavailable as error:
        if settings.redis_url is not None:
            raise
        raise RedisUnavailable(
            f"the cluster of the data folder {settings.data_dir} does not answer; start it again with `sheaf up`"
        ) from error


def start(settings: Settings, connection: redis.Redis, run: Run) -> int:
    """Put the run's first batches on the queue; return how many.

    Raises a ClusterError if Redis takes none. The run then waits on the volume until a worker finds it there.
    """
    label = settings.label or socket.gethostname()
    owner = f"producer-{secrets.token_hex(4)}"
    lock = FairLock(connection, keys.RECONCILER_LOCK, owner=owner, label=label, lease_s=settings.lock_lease_s)
    queue = BatchQueue(connection)
    reconciler = Reconciler(settings.data_dir, queue, settings.queue_batches)
    try:
        try:
            with lock.acquire(LOCK_WAIT_S) as lease, lease.keep():
                return reconciler.feed_run(run)
        except LockTimeout:
            return reconciler.feed_run(run)
    finally:
        reconciler.close()
        queue.close()
