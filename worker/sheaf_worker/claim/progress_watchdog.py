"""The progress watchdog: a run that has work and workers and does not move is said to, with the reason."""

from __future__ import annotations

import logging
import time

import redis

from sheaf.broker import keys
from sheaf.broker.lock import lock_status
from sheaf.broker.queue import BatchQueue
from sheaf.core.errors import ClusterError, OutputError
from sheaf.core.settings import Settings
from sheaf.output.blocker import blocker
from sheaf.run.run import Run
from sheaf.scheduling.reconciler import PROBLEM_S, Reconciler
from sheaf.scheduling.stall import LEAD, Facts, Kind, Stall, explain_stall

logger = logging.getLogger(__name__)

#: Seconds without a commit after which a run is looked into, and between two looks.
STALL_S, LOOK_S = 60.0, 5.0


class ProgressWatchdog:
    """Remembers when each unfinished run last moved. For the thread that has the reconciler's lock now.

    That lock goes from worker to worker; each one's own two looks at a run are enough to know how long it has stood
    still. Whoever said why before, and knows more, is not contradicted.
    """

    def __init__(self, settings: Settings, connection: redis.Redis, queue: BatchQueue, label: str) -> None:
        self._settings = settings
        self._connection = connection
        self._queue = queue
        self._label = label
        self._looked = 0.0
        #: Run -> how much of it was settled, since when (monotonic), and what was last told of it.
        self._seen: dict[str, tuple[int, float, Kind | None]] = {}

    def look(self, feeder: Reconciler) -> None:
        """Raises ClusterError if Redis does not take or tell something."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        seen, self._seen = self._seen, {}
        for run in feeder.unfinished:
            name, settled = run.manifest.run, feeder.settled(run)
            if settled is None or settled == run.manifest.items:
                continue  # said elsewhere, or finished by now
            before, since, told = seen.get(name, (-1, now, None))
            if settled != before:
                if told is not None:
                    self._forget(name)
                since, told = now, None
            elif now - since >= STALL_S:
                told = self._tell(run, now - since, told)
            self._seen[name] = (settled, since, told)

    def _forget(self, run: str) -> None:
        problem = self._queue.problem(run)
        if problem is not None and problem.text.startswith(LEAD):
            self._queue.clear_problem(run)

    def _tell(self, run: Run, stalled_s: float, told: Kind | None) -> Kind | None:
        name = run.manifest.run
        problem = self._queue.problem(name)
        if problem is not None and not problem.text.startswith(LEAD):
            return told
        stall = self._explain(run, stalled_s)
        if stall.kind is not told:
            # A program's runs are many, and its own log says so.
            quiet = run.manifest.session is not None or stall.kind in (Kind.SLOW, Kind.BEHIND)
            fields = {"action": "stall", "run": name, "why": stall.text}
            logger.log(logging.INFO if quiet else logging.WARNING, "run does not move", extra=fields)
        self._queue.set_problem(name, stall.text, worker=self._label, ttl_s=PROBLEM_S)
        return stall.kind

    def _explain(self, run: Run, stalled_s: float) -> Stall:
        output = run.manifest.output
        return explain_stall(
            Facts(
                run=run.manifest.run,
                stalled_s=stalled_s,
                snapshot=self._queue.snapshot(),
                cards=self._queue.workers(),
                lock=lock_status(self._connection, keys.output_lock(output)),
                blocker=self._blocker(output),
            )
        )

    def _blocker(self, output: str) -> str:
        try:
            holder = blocker(self._settings.data_dir / output)
        except (OutputError, ClusterError):
            return ""
        return holder.describe() if holder is not None else ""
