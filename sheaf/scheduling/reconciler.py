"""Put batches on the queue: the first ones of a new run, and every one that Redis has lost.

The volume says what must be done and what is done; Redis says what is queued or under a lease. What is in none of the
last three is put (back) on the queue. The same step starts a run, tops up the bounded queue of a long one, and repairs
a Redis that was flushed, restarted or replaced.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sheaf.broker.claims import Snapshot
from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import OutputError, OutputRefused, RunDamaged, RunNotFound
from sheaf.output.cache import OutputCache
from sheaf.output.output import Output
from sheaf.run.items import Batch, batch_id
from sheaf.run.run import Run, is_cancelled, is_finished
from sheaf.run.sessions import list_segments, party_of
from sheaf.run.unfinished import Unfinished

logger = logging.getLogger(__name__)

#: Seconds for which a problem is shown, and a run whose output was refused is left alone.
PROBLEM_S = 30


class Reconciler:
    """Compares volume and queue. Not thread-safe; hold `keys.RECONCILER_LOCK` while feeding: two at once waste work."""

    def __init__(self, data_dir: Path, queue: BatchQueue, room: int) -> None:
        self._data_dir = data_dir
        self._queue = queue
        #: Batches that may be on the queue.
        self._room = room
        self._outputs = OutputCache(data_dir)
        self._runs = Unfinished(data_dir)
        #: Runs whose files are damaged, and how: said in the log once.
        self._damaged: dict[str, str] = {}
        #: The runs that were not finished at the last look.
        self.unfinished: list[Run] = []

    def feed(self) -> int:
        """Look at every unfinished run, oldest first; return how many batches were put on the queue."""
        put = 0
        self.unfinished = []
        for name in (*self._runs.names(), *list_segments(self._data_dir)):
            run = self._open_unfinished(name)
            if run is not None:
                self.unfinished.append(run)
                put += self.feed_run(run)
        return put

    def _open_unfinished(self, name: str) -> Run | None:
        """The run, if there is something to do for it; one that is damaged is set aside, and all others go on."""
        try:
            # Asked anew each time: a repair may have reopened a run that was finished.
            if is_finished(self._data_dir, name) or is_cancelled(self._data_dir, name):
                return None
            run = Run.open(self._data_dir, name)
        except RunDamaged as error:
            self._set_aside(name, str(error))
            return None
        except RunNotFound:
            return None  # a program has just removed its session, or a person the run
        if self._damaged.pop(name, None):
            logger.info("run is intact again; resuming it", extra={"action": "feed", "run": name})
        return run

    def _set_aside(self, name: str, why: str) -> None:
        if self._damaged.get(name) != why:
            self._damaged[name] = why
            logger.error("setting aside a damaged run", extra={"action": "feed", "run": name, "why": why})
        self._queue.registry.set_problem(name, why, worker="", ttl_s=PROBLEM_S, refused=True)

    def feed_run(self, run: Run) -> int:
        """Put as many of one run's missing batches on the queue as there is room for."""
        # Redis first, the index second: a batch that is committed and let go in between is then seen as done.
        snapshot = self._queue.snapshot()
        room = self._room_for(run.manifest.party, snapshot)
        problem = self._queue.registry.problem(run.manifest.run)
        if room <= 0 or (problem is not None and problem.refused):
            return 0
        try:
            return self._queue.put(self._missing(run, snapshot, room))
        except OutputRefused as error:
            self._queue.registry.set_problem(run.manifest.run, str(error), worker="", ttl_s=PROBLEM_S, refused=True)
        except OutputError as error:
            logger.warning(
                "cannot read the index now", extra={"action": "feed", "run": run.manifest.run, "why": str(error)}
            )
        return 0

    def _room_for(self, party: str, snapshot: Snapshot) -> int:
        """How many batches of a party may be put on the queue.

        One that has less than its part there gets that even if the queue is full, or it would have no turn until those
        that filled it are nearly done. The more there are the smaller the parts: the queue grows with the logarithm of
        their number.
        """
        queued = Counter(party_of(name.rpartition("_")[0]) for name in snapshot.queued)
        others = len({party_of(name.rpartition("_")[0]) for name in snapshot.leased}.union(queued) - {party})
        share = max(1, self._room // (others + 1))
        return max(self._room - queued.total(), share - queued[party])

    def _missing(self, run: Run, snapshot: Snapshot, room: int) -> Iterator[Batch]:
        manifest = run.manifest
        output = self._outputs.get(manifest.output)
        # A copied or restored volume may hold runs that this index has never heard of.
        output.register_run(manifest.run, manifest.items, manifest.batch_size)
        progress = output.reader.run(manifest.run)
        if progress.done + progress.failed == manifest.items:
            # Who committed the last items died before it could say so, perhaps with another append begun.
            output.remove_excess()
            mark_finished(run, output)
            return
        for number in output.reader.unfinished_batches(manifest.run):
            name = batch_id(manifest.run, number)
            if name not in snapshot.queued and name not in snapshot.leased:
                yield manifest.batch(number)
                room -= 1
                if room == 0:
                    return

    def settled(self, run: Run) -> int | None:
        """How many of the run's items are done or failed; None if that cannot be read now."""
        try:
            progress = self._outputs.get(run.manifest.output).reader.run(run.manifest.run)
        except OutputError:
            return None
        return progress.done + progress.failed

    def close(self) -> None:
        self._outputs.close()


def mark_finished(run: Run, output: Output) -> None:
    """Mark a run of which nothing is left to do, so that it need not be checked again.

    A repair that reopens items at this very moment takes the mark away after its commit; or we do, seeing that commit.
    """
    try:
        run.mark_finished()
        complete = output.reader.run(run.manifest.run).finished
    except (OutputError, OSError) as error:
        # The disk is full, say. The mark only saves work: the next look sets it.
        logger.warning(
            "could not mark the run as finished; will retry",
            extra={"action": "finish", "run": run.manifest.run, "why": str(error)},
        )
        complete = False
    if not complete:
        run.reopen()
