"""Step 2 of 6: the queue in Redis. A batch is one RQ job; a lease says which worker has it.

    put (RQ) ──► queued ──claim──► leased ──finish──► gone
                   ▲                 │ ▲
                   └──hand back, ────┘ └─renew
                      or lease ran out

RQ writes the jobs and shows them (`rq info`); taking them is ours, because RQ's own way loses or strands a job when a
worker is stopped or killed at the wrong moment. A job holds a reference to its items, never the items.

Redis may forget all of this at any time: the volume knows what is left to do, and the reconciler puts it back.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import redis

from sheaf.broker import keys
from sheaf.broker.claims import ClaimRequest, Claims, Snapshot
from sheaf.broker.connection import redis_errors, understood
from sheaf.broker.replies import json_object, number, text
from sheaf.broker.rq_queue import import_rq_queue
from sheaf.broker.scripts import Script
from sheaf.broker.wakeup import Notifier
from sheaf.broker.worker_registry import WorkerRegistry, rq_time
from sheaf.broker.wrong_types import mended
from sheaf.core.errors import ClusterError, UsageError
from sheaf.run.items import Batch, parse_batch_id
from sheaf.run.sessions import session_of

if TYPE_CHECKING:
    from rq.queue import EnqueueData

__all__ = ["BatchQueue", "run_batch"]

#: Jobs put on the queue in one transaction.
CHUNK = 500
#: ... but few at first: workers begin while the rest is made ready.
FIRST_CHUNK = 16
#: More parties than there can be.
_ANY = 1 << 30
#: What RQ would call for a job.
FUNCTION = "sheaf.broker.queue.run_batch"
#: What `rq` shows for a job that another program has put on our queue.
FOREIGN = (
    f"The queue {keys.QUEUE!r} belongs to Sheaf, whose workers run batches of Sheaf's runs only. "
    "Put this job on another queue."
)


def run_batch(run: str, first: int = 0, count: int = 0) -> NoReturn:
    """Explain the mistake: only a stock `rq worker` calls this, as Sheaf's workers never call what a job names."""
    raise UsageError(
        f"{count} items of run {run!r}, from item {first} on, are for a Sheaf worker, but a stock `rq worker` took "
        "them: stop it and start `sheaf-worker` (or `sheaf up`). Nothing is lost: they will be queued again"
    )


class BatchQueue:
    """The queue and the leases. Thread-safe, except that `wait()` belongs to one thread."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        #: The workers that serve the queue, and the problems of its runs.
        self.registry = WorkerRegistry(connection)
        self._rq = import_rq_queue()(keys.QUEUE, connection=connection, serializer="json")
        self._notifier = Notifier(connection)
        self._claim = Script(connection, "claim")
        self._renew = Script(connection, "renew")
        self._finish = Script(connection, "finish")
        self._put_back = Script(connection, "put_back")
        self._snapshot = Script(connection, "snapshot")
        #: Identifies the next claim, so that one whose answer was lost can be repeated.
        self._request = secrets.token_hex(8)
        #: The longest lease requested so far, in ms.
        self._longest_ms = 0
        #: Guards `_released`, and keeps a renewal from overlapping with a release.
        self._mutex = threading.Lock()
        #: Recently released batches -> until when (monotonic) a renewal may still name them.
        self._released: dict[str, float] = {}

    def put(self, batches: Iterable[Batch]) -> int:
        """Put batches at the end of the queue, as RQ jobs, and wake waiting workers; return how many.

        `batches` is read lazily. When a ClusterError is raised, some may be on the queue: look at a fresh `snapshot()`
        before putting the rest. A batch that is queued twice does no harm.
        """
        put, size = 0, FIRST_CHUNK
        stream = iter(batches)
        while chunk := list(itertools.islice(stream, size)):
            names = (keys.RQ_QUEUE, keys.RQ_QUEUES, *(keys.RQ_JOB_PREFIX + batch.id for batch in chunk))
            with redis_errors():
                mended(self._connection, names, functools.partial(self._put_chunk, chunk))
            put, size = put + len(chunk), CHUNK
        return put

    def _put_chunk(self, chunk: Sequence[Batch]) -> None:
        with self._connection.pipeline() as pipe:
            self._rq.enqueue_many([self._job(batch) for batch in chunk], pipeline=pipe)
            pipe.publish(keys.WAKEUP, len(chunk))
            pipe.execute()

    def _job(self, batch: Batch) -> EnqueueData:
        return self._rq.prepare_data(
            FUNCTION,
            args=(batch.run, batch.first, batch.count),
            job_id=batch.id,
            description=f"items {batch.first} to {batch.end - 1} of run {batch.run}",
            timeout=-1,
            result_ttl=0,
        )

    def withdraw(self, batches: Iterable[Batch]) -> None:
        """Take unclaimed batches off the queue. For the program that has put them there."""
        with redis_errors():
            mended(self._connection, [keys.RQ_QUEUE], functools.partial(self._withdraw, list(batches)))

    def _withdraw(self, batches: Sequence[Batch]) -> None:
        with self._connection.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.lrem(keys.RQ_QUEUE, 0, batch.id)
                pipe.delete(keys.RQ_JOB_PREFIX + batch.id)
            pipe.execute()

    def publish_committed(self, runs: Iterable[str]) -> None:
        """Notify programs that wait for results of these runs; runs of no session are skipped."""
        sessions: dict[str, list[str]] = {}
        for run in runs:
            session = session_of(run)
            if session is not None:
                sessions.setdefault(session, []).append(run)
        with redis_errors():
            for session, names in sessions.items():
                self._connection.publish(keys.COMMITTED_PREFIX + session, " ".join(names))

    def publish_finished(self, runs: Iterable[str]) -> None:
        """Notify those who follow these runs that the last item is committed; runs of a session are skipped."""
        with redis_errors():
            for run in runs:
                if session_of(run) is None:
                    self._connection.publish(keys.FINISHED_PREFIX + run, "")

    @understood()
    def length(self) -> int:
        """How many batches are queued."""
        with redis_errors():
            return number(mended(self._connection, [keys.RQ_QUEUE], lambda: self._connection.llen(keys.RQ_QUEUE)))

    @understood()
    def snapshot(self) -> Snapshot:
        """See what is queued and what is leased, at one moment."""
        queued, leases, owners, now_ms = self._snapshot([], [keys.RQ_QUEUE, keys.LEASES, keys.OWNERS])
        owner = dict(_pairs(owners))
        return Snapshot(
            queued=set(map(text, queued)),
            leased={
                text(name): (text(owner.get(name)), number(until_ms) - int(now_ms)) for name, until_ms in _pairs(leases)
            },
        )

    @understood()
    def claim(self, worker: str, limit: int, lease_s: float, request: ClaimRequest | None = None) -> Claims:
        """Take up to `limit` batches off the queue and lease them to `worker`, in one step. Never blocks.

        Parties are served round-robin, the batches of each in order; without a `request`, all parties. After a claim
        whose answer was lost, the next one returns the same batches. For one worker.
        """
        named, others, each = request or ClaimRequest({}, _ANY, limit)
        answer, left, parties, left_of = self._claim(
            [
                keys.RQ_QUEUE,
                keys.LEASES,
                keys.OWNERS,
                keys.CLAIMS,
                keys.RQ_STARTED,
                keys.RQ_FAILED,
                keys.CLAIMED_PREFIX + worker,
                keys.TURNS,
                keys.LINED,
            ],
            [
                *(worker, limit, self._lease_ms(lease_s), self._request, rq_time(), FOREIGN, others, each),
                *(part for pair in named.items() for part in pair),
            ],
        )
        self._request = secrets.token_hex(8)
        # `claim.lua` has checked the form of the batches' ids; those of other jobs may be any bytes.
        taken = json_object(answer)
        with self._mutex:
            for name, _ in taken["batches"]:
                self._released.pop(name, None)
        batches = [(*parse_batch_id(name), number(claims, 1)) for name, claims in taken["batches"]]
        return Claims(
            batches,
            left=int(left),
            parties=int(parties),
            left_of={text(party): int(count) for party, count in _pairs(left_of)},
            foreign=list(taken["foreign"]),
        )

    @understood()
    def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> list[str]:
        """Extend leases to their full length; recreate those that Redis has forgotten.

        Returns the ids that another worker holds by now. Ids that another thread has just released are skipped.
        """
        lease_ms = self._lease_ms(lease_s)
        with self._mutex:
            now = time.monotonic()
            self._released = {name: until for name, until in self._released.items() if until > now}
            held = [name for name in ids if name not in self._released]
            if not held:
                return []
            lost = self._renew(
                [keys.LEASES, keys.OWNERS, keys.RQ_QUEUE, keys.RQ_STARTED, keys.LINED], [worker, lease_ms, *held]
            )
        return list(map(text, lost))

    @understood()
    def finish(self, worker: str, ids: Sequence[str]) -> None:
        """Remove finished batches from Redis; those that other workers hold are left alone."""
        if ids:
            with self._mutex:
                self._note_released(ids)
                self._finish(
                    [keys.LEASES, keys.OWNERS, keys.CLAIMS, keys.RQ_QUEUE, keys.RQ_STARTED, keys.RQ_FAILED, keys.LINED],
                    [worker, *ids],
                )

    @understood()
    def hand_back(self, worker: str, ids: Sequence[str], *, in_peace: bool = True) -> None:
        """Put this worker's batches back at the front of the queue; those that are not its own are skipped.

        Not `in_peace`: something broke that they may be the cause of, so this claim goes on being counted.
        """
        if ids:
            with self._mutex:
                self._note_released(ids)
                put_back = self._put_back_to_front(worker, ids)
            if in_peace and put_back:
                # A full Redis refuses this; a count that stays too large only costs the batch some time.
                with (
                    contextlib.suppress(ClusterError),
                    redis_errors(),
                    self._connection.pipeline(transaction=False) as pipe,
                ):
                    for name in put_back:
                        pipe.hincrby(keys.CLAIMS, name, -1)
                    pipe.execute()

    @understood()
    def reap(self) -> list[str]:
        """Put every batch with an expired lease back at the front of the queue; return their ids."""
        return self._put_back_to_front("", [])

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something may be on the queue (True), or until the timeout or `interrupt()` (False)."""
        return self._notifier.wait(timeout_s)

    def interrupt(self) -> None:
        """End another thread's `wait()`."""
        self._notifier.interrupt()

    def close(self) -> None:
        """Stop listening for wakeups."""
        self._notifier.close()

    def _put_back_to_front(self, worker: str, ids: Sequence[str]) -> list[str]:
        put_back = self._put_back(
            [keys.RQ_QUEUE, keys.LEASES, keys.OWNERS, keys.RQ_STARTED, keys.TURNS, keys.LINED],
            [worker, self._longest_ms, rq_time(), keys.WAKEUP, *ids],
        )
        return list(map(text, put_back))

    def _note_released(self, ids: Sequence[str]) -> None:
        # Longer than any list of ids lives between being made and being passed to `renew()`.
        self._released.update(dict.fromkeys(ids, time.monotonic() + 60))

    def _lease_ms(self, lease_s: float) -> int:
        lease_ms = round(lease_s * 1000)
        self._longest_ms = max(self._longest_ms, lease_ms)
        return lease_ms


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
