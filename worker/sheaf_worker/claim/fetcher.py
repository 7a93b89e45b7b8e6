"""Between steps 2 and 3 of 6: claims batches from the queue, a little ahead of the pool, and reads their items.

Claiming is one atomic step in Redis (pop and lease) that never blocks. A signal only sets a flag, which is checked
between two claims, so stopping a worker cannot strand a batch between queue and lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from sheaf.broker.claims import ClaimRequest, Claims
from sheaf.broker.suspects import Notes
from sheaf.core.errors import (
    ClusterError,
    OutputError,
    OutputRefused,
    RunDamaged,
    RunNotFound,
    TaskChanged,
    TaskForbidden,
)
from sheaf.formats.separator import has_separator, separator_of
from sheaf.output.cache import OutputCache
from sheaf.output.output import Output
from sheaf.run.items import Batch, Failed, batch_id
from sheaf.run.run import Run
from sheaf.run.sessions import party_of
from sheaf.scheduling.reconciler import PROBLEM_S
from sheaf.tasks import versions
from sheaf.tasks.registry import check_allowed
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.in_flight import InFlightBatch
from sheaf_worker.claim.isolation import CLAIMS, Isolation
from sheaf_worker.claim.lookahead import NOTHING, Demand
from sheaf_worker.pool.backlog import ItemBlock

logger = logging.getLogger(__name__)

#: The most batches of one party that are claimed in one step.
CLAIM_LIMIT = 4
#: Batches in flight unless the setting says otherwise; a bound for leases to renew, not a target.
IN_FLIGHT_LIMIT = 256
#: Runs that are remembered; a program's are many and short.
KNOWN_RUNS = 64
#: Seconds between two claims while nothing is wanted (new parties may have come), while the last batches are on their
#: way to the pool, while the limit is reached, and while the queue has nothing of the wanted parties.
IDLE_S, PASS_ON_S, LIMIT_S, OTHERS_S = 0.25, 0.001, 0.01, 0.05
#: Seconds between two steps while a batch is isolated (isolation.py).
ISOLATION_STEP_S = 0.005
#: Seconds to wait for a wakeup before the queue is polled anyway (a message may be lost).
WAKEUP_S = 1.0
#: Seconds for which a worker that has never found a run on its volume pauses after another miss.
STRANGER_S = 5.0
#: Seconds to wait before reconnecting to Redis, doubled each time up to the limit.
RECONNECT_S = (0.2, 5.0)


class Fetcher(threading.Thread):
    """One thread. `taken` holds the claimed batches and their open items, for the worker's loop."""

    def __init__(
        self,
        context: WorkerContext,
        wake: Callable[[], None],
        refill: Callable[[], None],
        notes: Notes,
        idle: Callable[[], bool],
    ) -> None:
        super().__init__(name="fetcher")
        settings = context.settings
        self._settings, self._queue, self._in_flight = settings, context.queue, context.in_flight
        self._worker = context.worker_id
        #: What the pool wants.
        self._demand = NOTHING
        #: Items per batch, as of the last one of each party, and of all.
        self._batch_items: dict[str, int] = {}
        self._last_items = 1
        self._wanted = threading.Event()
        #: Called when something was claimed, and when the queue runs low.
        self._wake, self._refill = wake, refill
        self._stop_asked = threading.Event()
        self._outputs = OutputCache(settings.data_dir, settings.lock_wait_s)
        self._runs: dict[str, Run] = {}
        self._separators: dict[str, str] = {}
        self.taken: SimpleQueue[tuple[InFlightBatch, ItemBlock]] = SimpleQueue()
        #: Items that fail without another attempt, with their runs.
        self.failed: SimpleQueue[tuple[str, Failed]] = SimpleQueue()
        self._given = 0
        #: How many entries of `taken` the worker has passed on to its pool.
        self.passed_on = 0
        self._isolation = Isolation(
            notes,
            context.in_flight,
            self._give,
            lambda run, failed: self.failed.put((run, failed)),
            lambda: self._given == self.passed_on and idle(),
        )
        #: Whether the queue, as far as is known, has nothing more for this worker.
        self.drained = True
        #: Why no batch can be claimed; None while claims succeed.
        self.problem: str | None = None

    def want(self, demand: Demand) -> None:
        """Called by the worker's loop: what its pool wants."""
        self._demand = demand
        if demand.urgent:
            self._wanted.set()
        else:
            self._wanted.clear()

    def stop(self, within_s: float | None = None) -> None:
        """Claim nothing more; returns when the thread has ended, after `within_s` seconds at the latest."""
        self._stop_asked.set()
        self._wanted.set()
        self._queue.interrupt()
        self.join(within_s)

    def run(self) -> None:
        delay_s = RECONNECT_S[0]
        while not self._stop_asked.is_set():
            try:
                self._step()
            except ClusterError as error:
                if self.problem is None:
                    logger.warning("waiting for Redis", extra={"action": "claim", "why": str(error)})
                self.problem = str(error)
                self._set_drained()
                self._stop_asked.wait(delay_s)
                delay_s = min(delay_s * 2, RECONNECT_S[1])
            else:
                if self.problem is not None:
                    logger.info("Redis is back", extra={"action": "claim"})
                self.problem = None
                delay_s = RECONNECT_S[0]
        self._outputs.close()

    def _step(self) -> None:
        if self._isolation.advance():
            self._set_drained()
            self._stop_asked.wait(ISOLATION_STEP_S)
            return
        if not self.taken.empty():
            # The last batches have not reached the pool yet, so its demand is out of date.
            self._stop_asked.wait(PASS_ON_S)
            return
        urgent, demand = self._wanted.wait(IDLE_S), self._demand
        room = (self._settings.batches_in_flight or IN_FLIGHT_LIMIT) - len(self._in_flight)
        request = self._request(demand)
        limit = min(room, request.most)
        if limit <= 0:
            if urgent:
                self._set_drained()
                self._stop_asked.wait(LIMIT_S)
            return
        claims = self._queue.claim(self._worker, limit, self._settings.batch_lease_s, request)
        if claims.foreign:
            logger.warning(
                "moved jobs of another program off the queue", extra={"action": "claim", "jobs": claims.foreign}
            )
        if claims.batches:
            self.drained = False
        elif urgent:
            self._set_drained()
            if claims.left:
                # The worker has enough of the other parties, but not for long.
                self._stop_asked.wait(OTHERS_S)
            else:
                self._queue.wait(WAKEUP_S)
        for run, number, count in claims.batches:
            self._take(run, number, count)
        self._refill_if_low(claims)

    def _refill_if_low(self, claims: Claims) -> None:
        """If a run has more batches than may be queued at once, have the next ones queued in time."""
        quota = self._settings.queue_batches // max(1, claims.parties)
        for name in {run for run, _, _ in claims.batches}:
            run = self._runs.get(name)
            left = claims.left_of.get(party_of(name), 0)
            if run is not None and run.manifest.batches > quota and left <= quota // 2:
                self._refill()

    def _set_drained(self) -> None:
        if not self.drained:
            self.drained = True
            self._wake()

    def _request(self, demand: Demand) -> ClaimRequest:
        """How many batches to claim: no more than the pool will soon need, so that other workers get some."""
        named = {
            party: min(CLAIM_LIMIT, -(-count // self._batch_items.get(party, self._last_items)))
            for party, count in demand.named.items()
        }
        each = min(CLAIM_LIMIT, -(-demand.idle // self._last_items))
        return ClaimRequest(named, demand.others, max(1, each))

    def _take(self, name: str, number: int, claims: int) -> None:
        """Read a claimed batch's open items and pass them on, or finish the batch if none is open."""
        try:
            run = self._run(name)
            batch = run.manifest.batch(number)
            if batch.count <= 0:
                raise RunNotFound(f"run {name!r} has no batch {number}")
            if self._in_flight.has(batch.id):
                # It was queued twice. The lease is the same one, and the claim has renewed it.
                return
            check_allowed(run.manifest.spec.task, self._settings.allow_exec)
            versions.check(run, self._settings.tasks_dir)
            files = versions.files_in_force(run)
            separator = self._separator(run)
            block = _read(run, batch, () if run.cancelled else self._output(run).reader.remaining(name, batch))
        except RunDamaged as error:
            # Perhaps only this batch is affected: others of the run go on if their part of the list is intact.
            self._refuse(name, number, str(error), refused=True)
            return
        except RunNotFound as error:
            self._refuse(
                name, number, f"{error}; does this worker ({self._settings.data_dir}) share the producer's volume?"
            )
            if not self._runs:
                # This worker seems to have the wrong volume: leave the queue to those that have the right one.
                self._stop_asked.wait(STRANGER_S)
            return
        except (TaskChanged, TaskForbidden) as error:
            self._refuse(name, number, str(error), refused=True)
            return
        except (OutputError, OSError) as error:
            self._refuse(name, number, str(error), refused=isinstance(error, OutputRefused))
            return
        if not block.indexes:
            self._queue.finish(self._worker, [batch.id])
            return
        note = self._isolation.note_of(batch.id) if claims > CLAIMS else None
        claimed = InFlightBatch.of(batch, run, block.indexes, files, separator)
        self._in_flight.add(claimed)
        self._note_size(party_of(name), len(block.indexes))
        if claims > CLAIMS:
            self._isolation.add(claimed, block, claims, note)
        else:
            self._give(claimed, block)

    def _give(self, claimed: InFlightBatch, block: ItemBlock) -> None:
        self._given += 1
        self.taken.put((claimed, block))
        self._wake()

    def _note_size(self, party: str, items: int) -> None:
        self._batch_items.pop(party, None)
        self._batch_items[party] = self._last_items = items
        if len(self._batch_items) > KNOWN_RUNS:
            del self._batch_items[next(iter(self._batch_items))]

    def _refuse(self, run: str, number: int, why: str, *, refused: bool = False) -> None:
        """Report why the batch cannot be worked on and release it; the reconciler queues it again later."""
        logger.error("cannot work on a batch", extra={"action": "claim", "run": run, "batch": number, "why": why})
        self._queue.registry.set_problem(run, why, worker=self._worker, ttl_s=PROBLEM_S, refused=refused)
        self._queue.finish(self._worker, [batch_id(run, number)])

    def _run(self, name: str) -> Run:
        if name not in self._runs:
            self._runs[name] = Run.open(self._settings.data_dir, name)
            if len(self._runs) > KNOWN_RUNS:
                del self._runs[next(iter(self._runs))]
        return self._runs[name]

    def _separator(self, run: Run) -> str:
        """The word in the output's headings. A run never changes its output."""
        name = run.manifest.run
        if name not in self._separators:
            combined = has_separator(run.manifest.output)
            self._separators[name] = separator_of(self._output(run).reader.state().header) if combined else ""
            if len(self._separators) > KNOWN_RUNS:
                del self._separators[next(iter(self._separators))]
        return self._separators[name]

    def _output(self, run: Run) -> Output:
        return self._outputs.get(run.manifest.output)


def _read(run: Run, batch: Batch, open_items: Sequence[int]) -> ItemBlock:
    """Read the batch's open items."""
    if not open_items:
        return ItemBlock((), ())
    indexes, texts = run.read(batch)
    if len(open_items) == batch.count:
        return ItemBlock(indexes, texts)
    return ItemBlock(open_items, [texts[index - batch.first] for index in open_items])
