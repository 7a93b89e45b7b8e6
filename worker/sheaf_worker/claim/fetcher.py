"""Between steps 2 and 3 of 6: takes batches from the queue, a little ahead of the pool, and reads their items.

Claiming is one atomic step in Redis (pop and lease), and it never blocks: a signal only sets a flag that is looked at
between two claims, so a worker that is told to stop cannot strand a batch on its way.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from sheaf.broker.queue import BatchQueue, ClaimRequest, Claims
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
from sheaf.core.settings import Settings
from sheaf.formats.separator import has_separator, separator_of
from sheaf.output.cache import OutputCache
from sheaf.output.output import Output
from sheaf.run.items import Batch, Failed, batch_id
from sheaf.run.run import Run
from sheaf.run.sessions import party_of
from sheaf.scheduling.reconciler import PROBLEM_S
from sheaf.tasks import versions
from sheaf.tasks.registry import check_allowed
from sheaf_worker.claim.in_flight import InFlight, InFlightBatch
from sheaf_worker.claim.isolation import CLAIMS, Isolation
from sheaf_worker.claim.lookahead import NOTHING, Hunger
from sheaf_worker.pool.backlog import ItemBlock

logger = logging.getLogger(__name__)

#: Batches of one party that are claimed in one step, at most.
CLAIM_LIMIT = 4
#: Batches held at once when the setting leaves it to us; a bound for leases to renew, not a target.
HELD_LIMIT = 256
#: Runs that are remembered; a program's are many and short.
KNOWN_RUNS = 64
#: Seconds between two looks while nothing is wanted (who else is there?), while what was taken is on its way, while all
#: is held that may be, while there is nothing of those parties that something is wanted of.
IDLE_S, BREATH_S, HELD_S, OTHERS_S = 0.25, 0.001, 0.01, 0.05
#: Seconds between two looks while a batch is done part by part (isolation.py).
ALONE_LOOK_S = 0.005
#: Seconds of waiting for the queue's wakeup before it is looked at all the same (a message may be lost).
BELL_S = 1.0
#: Seconds for which a worker that has never found a run on its volume takes nothing after it did not find one.
STRANGER_S = 5.0
#: Seconds to wait before Redis is asked again, doubled each time up to the limit.
RECONNECT_S = (0.2, 5.0)


class Fetcher(threading.Thread):
    """One thread. `taken` holds (held batch, its open items) for the worker to give to its pool."""

    def __init__(
        self,
        settings: Settings,
        queue: BatchQueue,
        in_flight: InFlight,
        worker: str,
        wake: Callable[[], None],
        refill: Callable[[], None],
        notes: Notes,
        idle: Callable[[], bool],
    ) -> None:
        super().__init__(name="fetcher")
        self._settings = settings
        self._queue = queue
        self._in_flight = in_flight
        self._worker = worker
        #: What the pool could do with.
        self._hunger = NOTHING
        #: Items per batch, as of the last one of each party, and of all.
        self._batch_items: dict[str, int] = {}
        self._last_items = 1
        self._hungry = threading.Event()
        #: Tells the worker that something was taken, and whoever tops up the queue that it runs low.
        self._wake, self._refill = wake, refill
        self._stop_asked = threading.Event()
        self._outputs = OutputCache(settings.data_dir, settings.lock_wait_s)
        self._runs: dict[str, Run] = {}
        self._separators: dict[str, str] = {}
        self.taken: SimpleQueue[tuple[InFlightBatch, ItemBlock]] = SimpleQueue()
        #: Runs and their items that fail without being tried once more.
        self.failed: SimpleQueue[tuple[str, Failed]] = SimpleQueue()
        self._given = 0
        #: How many times the worker has passed on to its pool what was in `taken`.
        self.passed_on = 0
        self._isolation = Isolation(
            notes,
            in_flight,
            self._give,
            lambda run, failed: self.failed.put((run, failed)),
            lambda: self._given == self.passed_on and idle(),
        )
        #: Whether nothing more is to be had now, as far as is known.
        self.dry = True
        #: Why no batch can be taken now; None while all is well.
        self.problem: str | None = None

    def want(self, hunger: Hunger) -> None:
        """Called by the worker at each turn: what its pool could do with."""
        self._hunger = hunger
        if hunger.urgent:
            self._hungry.set()
        else:
            self._hungry.clear()

    def stop(self, within_s: float | None = None) -> None:
        """Take nothing more; returns when the thread has ended, or after so many seconds."""
        self._stop_asked.set()
        self._hungry.set()
        self._queue.interrupt()
        self.join(within_s)

    def run(self) -> None:
        patience = RECONNECT_S[0]
        while not self._stop_asked.is_set():
            try:
                self._turn()
            except ClusterError as error:
                if self.problem is None:
                    logger.warning("waits for Redis", extra={"action": "claim", "why": str(error)})
                self.problem = str(error)
                self._set_dry()
                self._stop_asked.wait(patience)
                patience = min(patience * 2, RECONNECT_S[1])
            else:
                if self.problem is not None:
                    logger.info("Redis is back", extra={"action": "claim"})
                self.problem = None
                patience = RECONNECT_S[0]
        self._outputs.close()

    def _turn(self) -> None:
        if self._isolation.turn():
            self._set_dry()
            self._stop_asked.wait(ALONE_LOOK_S)
            return
        if not self.taken.empty():
            # What was taken last is not yet with the pool, so it is not known whether that wants still more.
            self._stop_asked.wait(BREATH_S)
            return
        urgent, hunger = self._hungry.wait(IDLE_S), self._hunger
        room = (self._settings.batches_in_flight or HELD_LIMIT) - len(self._in_flight)
        wish = self._wish(hunger)
        limit = min(room, wish.most)
        if limit <= 0:
            if urgent:
                self._set_dry()
                self._stop_asked.wait(HELD_S)
            return
        claims = self._queue.claim(self._worker, limit, self._settings.batch_lease_s, wish)
        if claims.foreign:
            logger.warning(
                "jobs of another program stood on the queue", extra={"action": "claim", "jobs": claims.foreign}
            )
        if claims.batches:
            self.dry = False
        elif urgent:
            self._set_dry()
            if claims.left:
                # Others' turn: of them there is enough here, but for a moment only.
                self._stop_asked.wait(OTHERS_S)
            else:
                self._queue.wait(BELL_S)
        for run, number, count in claims.batches:
            self._take(run, number, count)
        self._refill_if_low(claims)

    def _refill_if_low(self, claims: Claims) -> None:
        """Of a run that has more batches than may stand on the queue at once, more should be put there in time."""
        share = self._settings.queue_batches // max(1, claims.parties)
        for name in {run for run, _, _ in claims.batches}:
            run = self._runs.get(name)
            left = claims.left_of.get(party_of(name), 0)
            if run is not None and run.manifest.batches > share and left <= share // 2:
                self._refill()

    def _set_dry(self) -> None:
        if not self.dry:
            self.dry = True
            self._wake()

    def _wish(self, hunger: Hunger) -> ClaimRequest:
        """Batches to claim at once: no more than the pool will use up soon, so that other workers get theirs."""
        named = {
            party: min(CLAIM_LIMIT, -(-count // self._batch_items.get(party, self._last_items)))
            for party, count in hunger.named.items()
        }
        each = min(CLAIM_LIMIT, -(-hunger.idle // self._last_items))
        return ClaimRequest(named, hunger.others, max(1, each))

    def _take(self, name: str, number: int, claims: int) -> None:
        """Read a claimed batch's open items and pass them on, or let go of it if there is nothing to do."""
        try:
            run = self._run(name)
            batch = run.manifest.batch(number)
            if batch.count <= 0:
                raise RunNotFound(f"run {name!r} has no batch {number}")
            if self._in_flight.has(batch.id):
                # Queued twice, and the first is still with us: the lease that was just renewed is the same one.
                return
            check_allowed(run.manifest.spec.task, self._settings.allow_exec)
            versions.check(run, self._settings.tasks_dir)
            files = versions.files_in_force(run)
            separator = self._separator(run)
            block = _read(run, batch, () if run.cancelled else self._output(run).remaining(name, batch))
        except RunDamaged as error:
            # Only this batch may be touched by it: others of the run that are queued are done, if theirs is whole.
            self._refuse(name, number, str(error), refused=True)
            return
        except RunNotFound as error:
            self._refuse(
                name, number, f"{error}; does this worker ({self._settings.data_dir}) share the producer's volume?"
            )
            if not self._runs:
                # It looks as if this worker had another volume: leave the queue to those that have the right one.
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
        held = InFlightBatch.of(batch, run, block.indexes, files, separator)
        self._in_flight.add(held)
        self._note_size(party_of(name), len(block.indexes))
        if claims > CLAIMS:
            self._isolation.add(held, block, claims, note)
        else:
            self._give(held, block)

    def _give(self, held: InFlightBatch, block: ItemBlock) -> None:
        self._given += 1
        self.taken.put((held, block))
        self._wake()

    def _note_size(self, party: str, items: int) -> None:
        self._batch_items.pop(party, None)
        self._batch_items[party] = self._last_items = items
        if len(self._batch_items) > KNOWN_RUNS:
            del self._batch_items[next(iter(self._batch_items))]

    def _refuse(self, run: str, number: int, why: str, *, refused: bool = False) -> None:
        """Say why the batch cannot be worked on and let go of it; the reconciler puts it back when that is over."""
        logger.error("batch cannot be worked on", extra={"action": "claim", "run": run, "batch": number, "why": why})
        self._queue.set_problem(run, why, worker=self._worker, ttl_s=PROBLEM_S, refused=refused)
        self._queue.finish(self._worker, [batch_id(run, number)])

    def _run(self, name: str) -> Run:
        if name not in self._runs:
            self._runs[name] = Run.open(self._settings.data_dir, name)
            if len(self._runs) > KNOWN_RUNS:
                del self._runs[next(iter(self._runs))]
        return self._runs[name]

    def _separator(self, run: Run) -> str:
        """The word that the output's headings have. A run keeps its output for good."""
        name = run.manifest.run
        if name not in self._separators:
            combined = has_separator(run.manifest.output)
            self._separators[name] = separator_of(self._output(run).header()) if combined else ""
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
