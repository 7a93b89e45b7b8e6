"""Between steps 4 and 5 of 6: commits finished records in groups, under the output's lock.

    pool ──results──► buffer.py ──group──► lock (step 5) ──► output (step 6) ──► batches finish

A group that cannot be written is retried: nothing is lost while a disk is full or a lock is held.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sheaf.broker import keys
from sheaf.broker.lock import FairLock
from sheaf.core.errors import ClusterError, FenceTimeout, LockError, OutputRefused, OutputUnwritable
from sheaf.output.cache import OutputCache
from sheaf.output.commit.plan import RunResults, prepare
from sheaf.output.output import Output, Receipt
from sheaf.run.items import record_bytes, settled_count
from sheaf.scheduling.reconciler import PROBLEM_S, mark_finished
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.commit.buffer import CommitBuffer, Groups
from sheaf_worker.commit.stats import CommitStats

logger = logging.getLogger(__name__)

#: Seconds before a commit that the disk or another process prevents is retried.
RETRY_S = 2.0
#: Waits for the lock that are longer than this, in seconds, are logged.
NOTICE_S = 1.0
#: Seconds for which a commit's lease is renewed. One that takes longer hangs; then only the fence excludes others.
KEPT_S = 300.0
#: Seconds that a commit in progress gets to finish after the grace period.
LATE_S = 2.0


class Committer(threading.Thread):
    """One thread. Others add to its buffer."""

    def __init__(
        self,
        context: WorkerContext,
        buffer: CommitBuffer,
    ) -> None:
        super().__init__(name="committer", daemon=True)
        self._worker_context = context
        self._settings, self._queue, self._in_flight = context.settings, context.queue, context.in_flight
        self._buffer = buffer
        self._deadline: float | None = None
        self._outputs = OutputCache(context.settings.data_dir, context.settings.lock_wait_s)
        self._unfinished_jobs: list[str] = []
        #: Runs whose output was refused; the worker takes them out of its pool.
        self.refused: queue.SimpleQueue[str] = queue.SimpleQueue()
        #: Why the last attempt failed; None while commits succeed.
        self.problem: str | None = None
        self.stats = CommitStats()
        #: Items settled and bytes written since the start, for the worker registry.
        self.items = 0
        self.bytes = 0

    def close(self, within_s: float) -> None:
        """Commit what is pending, for at most `within_s` seconds, and end the thread.

        A commit that still waits then (another process has the fence, the disk hangs) is abandoned. It ends with the
        process, as if that were killed, and other workers redo its items.
        """
        self._deadline = time.monotonic() + within_s
        self._buffer.close()
        self.join(within_s + LATE_S)
        if self.is_alive():
            logger.warning(
                "last commit did not finish in time; other workers will redo its items", extra={"action": "stop"}
            )

    def run(self) -> None:
        while self._buffer.wait():
            groups = self._buffer.take()
            for output, runs in self._by_output(groups).items():
                self._commit(output, {run: groups[run] for run in runs})
            self._buffer.written()
        self._finish_jobs([])
        self._outputs.close()

    def _by_output(self, groups: Groups) -> dict[str, list[str]]:
        outputs: dict[str, list[str]] = {}
        for run in groups:
            outputs.setdefault(self._buffer.run(run).manifest.output, []).append(run)
        return outputs

    def _commit(self, name: str, groups: Groups) -> None:
        """Retry until the group is committed or refused, or no time is left."""
        prepared = prepare(groups)
        while True:
            try:
                receipt = self._commit_once(name, prepared)
            except OutputRefused as error:
                self._give_up(groups, str(error))
                return
            except (OutputUnwritable, FenceTimeout, LockError) as error:
                if not self._wait_to_retry(groups, error):
                    return
            else:
                self.stats.count(groups.values())
                self._after_commit(groups, receipt)
                return

    def _commit_once(self, name: str, groups: Sequence[RunResults]) -> Receipt:
        output = self._outputs.get(name)
        with self._locked(name, output) as token:
            began, fence_s = time.monotonic(), output.waited_s
            try:
                receipt = output.commit(groups, worker=self._worker_context.worker_id, token=token)
            finally:
                fence_s = output.waited_s - fence_s
                self.stats.fence_s += fence_s
                self.stats.write_s += time.monotonic() - began - fence_s
        return receipt

    @contextmanager
    def _locked(self, name: str, output: Output) -> Iterator[int]:
        """Hold the output's lock in Redis. Without Redis there is no order among workers; the fence still excludes."""
        lock = FairLock(
            self._worker_context.connection,
            keys.output_lock(name),
            owner=self._worker_context.worker_id,
            label=self._worker_context.label,
            lease_s=self._settings.lock_lease_s,
        )
        floor, asked = output.reader.state().token, time.monotonic()
        lease = None
        try:
            lease = lock.acquire(self._settings.lock_wait_s, floor)
        except ClusterError as error:
            logger.warning(
                "committing without the Redis lock; relying on the index's write lock",
                extra={"action": "commit", "why": str(error)},
            )
        finally:
            waited_s = time.monotonic() - asked
            self.stats.lock_s += waited_s
        if lease is None:
            yield floor
            return
        if waited_s >= NOTICE_S:
            fields = {"action": "wait", "output": name, "waited_s": round(waited_s, 1)}
            logger.info("acquired the output's lock after a long wait", extra=fields)
        try:
            with lease.keep(KEPT_S):
                yield lease.token
        finally:
            try:
                lease.release()
            except (ClusterError, LockError) as error:
                # The commit is valid all the same; a lease that is not released expires.
                logger.warning(
                    "could not release the lock; its lease will expire", extra={"action": "release", "why": str(error)}
                )

    def _after_commit(self, groups: Groups, receipt: Receipt) -> None:
        if self.problem is not None:
            logger.info("commits succeed again", extra={"action": "commit"})
            self._forget_problem(groups)
        finished: list[str] = []
        for run, results in groups.items():
            finished += self._in_flight.settle(self._buffer.run(run), results)
            self.items += settled_count(results)
            self.bytes += record_bytes(results)
        for run in receipt.finished_runs:
            manifest = self._buffer.run(run).manifest
            mark_finished(self._buffer.run(run), self._outputs.get(manifest.output))
            # A program's runs are many and short: at INFO they would flood the log.
            level = logging.INFO if manifest.session is None else logging.DEBUG
            logger.log(level, "run finished", extra={"action": "finish", "run": run})
        self._notify(groups, receipt.finished_runs)
        self._finish_jobs(finished)

    def _notify(self, runs: Iterable[str], finished: Iterable[str]) -> None:
        """Wake the programs and commands that wait for these runs; those that miss the message poll."""
        try:
            self._queue.publish_committed(runs)
            self._queue.publish_finished(finished)
        except ClusterError as error:
            logger.warning(
                "could not announce new results; waiting programs will poll",
                extra={"action": "announce", "why": str(error)},
            )

    def _finish_jobs(self, batches: list[str]) -> None:
        """The batches are durable: only now may their jobs finish. If Redis refuses, they are retried next time."""
        self._unfinished_jobs += batches
        if not self._unfinished_jobs:
            return
        try:
            self._queue.finish(self._worker_context.worker_id, self._unfinished_jobs)
        except ClusterError as error:
            logger.warning(
                "could not remove finished batches from Redis; will retry",
                extra={"action": "finish", "why": str(error)},
            )
        else:
            self._unfinished_jobs = []

    def _give_up(self, groups: Groups, why: str) -> None:
        """The output is not as it should be: drop these records and their runs; the reconciler retries later."""
        self._report(groups, why, refused=True)
        self.problem = None
        for run in groups:
            self.refused.put(run)
        dropped = [batch for run in groups for batch in self._in_flight.drop_run(run)]
        self._finish_jobs(dropped)

    def _wait_to_retry(self, groups: Groups, error: Exception) -> bool:
        """Report why commits fail, and wait; False if the worker must end without this group (others will redo it)."""
        self._report(groups, str(error))
        if self._deadline is not None and time.monotonic() + RETRY_S > self._deadline:
            return False
        time.sleep(RETRY_S)
        return True

    def _report(self, groups: Groups, why: str, *, refused: bool = False) -> None:
        if why != self.problem:
            outcome = "the output is refused, so the run is set aside" if refused else "will retry"
            logger.error(f"cannot commit; {outcome}", extra={"action": "commit", "runs": list(groups), "why": why})
        self.problem = why
        try:
            for run in groups:
                self._queue.registry.set_problem(
                    run, why, worker=self._worker_context.label, ttl_s=PROBLEM_S, refused=refused
                )
        except ClusterError as error:
            logger.warning("could not publish the problem in Redis", extra={"action": "problem", "why": str(error)})

    def _forget_problem(self, groups: Groups) -> None:
        self.problem = None
        try:
            for run in groups:
                self._queue.registry.clear_problem(run)
        except ClusterError as error:
            logger.warning(
                "could not clear the solved problem in Redis", extra={"action": "problem", "why": str(error)}
            )
