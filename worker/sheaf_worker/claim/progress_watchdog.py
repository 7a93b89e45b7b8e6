"""Reports runs that have work and workers and make no progress, with the reason."""

from __future__ import annotations

import logging
import time

from sheaf.broker import keys
from sheaf.broker.lock import lock_status
from sheaf.core.errors import ClusterError, OutputError
from sheaf.output.blocker import blocker
from sheaf.run.run import Run
from sheaf.scheduling.reconciler import PROBLEM_S, Reconciler
from sheaf.scheduling.stall import LEAD, Facts, Kind, Stall, explain_stall
from sheaf_worker.claim.context import WorkerContext

logger = logging.getLogger(__name__)

#: Seconds without a commit until a run is reported, and between two checks.
STALL_S, CHECK_S = 60.0, 5.0


class ProgressWatchdog:
    """Remembers when each unfinished run last made progress. For the thread that holds the reconciler's lock.

    That lock moves from worker to worker; two checks by the same worker are enough to know how long a run has stalled.
    A problem that another part of a worker has reported is left as it is, since that part knows more.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._worker_context = context
        self._queue = context.queue
        self._checked_at = 0.0
        #: Run -> how much of it was settled, since when (monotonic), and the kind of stall last reported.
        self._seen: dict[str, tuple[int, float, Kind | None]] = {}

    def check(self, reconciler: Reconciler) -> None:
        """Raises ClusterError if Redis does not answer."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_S:
            return
        self._checked_at = now
        seen, self._seen = self._seen, {}
        for run in reconciler.unfinished:
            name, settled = run.manifest.run, reconciler.settled(run)
            if settled is None or settled == run.manifest.items:
                continue  # reported elsewhere, or finished by now
            before, since, reported = seen.get(name, (-1, now, None))
            if settled != before:
                if reported is not None:
                    self._forget(name)
                since, reported = now, None
            elif now - since >= STALL_S:
                reported = self._report(run, now - since, reported)
            self._seen[name] = (settled, since, reported)

    def _forget(self, run: str) -> None:
        problem = self._queue.registry.problem(run)
        if problem is not None and problem.text.startswith(LEAD):
            self._queue.registry.clear_problem(run)

    def _report(self, run: Run, stalled_s: float, reported: Kind | None) -> Kind | None:
        name = run.manifest.run
        problem = self._queue.registry.problem(name)
        if problem is not None and not problem.text.startswith(LEAD):
            return reported
        stall = self._explain(run, stalled_s)
        if stall.kind is not reported:
            # A program has many runs, and logs this itself.
            quiet = run.manifest.session is not None or stall.kind in (Kind.SLOW, Kind.BUSY)
            fields = {"action": "stall", "run": name, "why": stall.text}
            logger.log(logging.INFO if quiet else logging.WARNING, "run makes no progress", extra=fields)
        self._queue.registry.set_problem(name, stall.text, worker=self._worker_context.label, ttl_s=PROBLEM_S)
        return stall.kind

    def _explain(self, run: Run, stalled_s: float) -> Stall:
        output = run.manifest.output
        return explain_stall(
            Facts(
                run=run.manifest.run,
                stalled_s=stalled_s,
                snapshot=self._queue.snapshot(),
                entries=self._queue.registry.workers(),
                lock=lock_status(self._worker_context.connection, keys.output_lock(output)),
                blocker=self._blocker(output),
            )
        )

    def _blocker(self, output: str) -> str:
        try:
            holder = blocker(self._worker_context.settings.data_dir / output)
        except (OutputError, ClusterError):
            return ""
        return holder.describe() if holder is not None else ""
