"""Step 3 of 6: a worker claims batches, has its pool execute their items, and has the results committed.

    fetcher ──batches──► this loop ──items──► pool (step 4)
                           │  ▲─────────results──┘
                           └──► committer ──► lock (step 5), output (step 6) ──► the batches' jobs finish

    heartbeat: leases, registry entry, health file        recovery: queues what others left undone
    hosting: processes of programs, beside the pool

The loop itself never talks to Redis and never writes to the disk, so neither can keep the pool waiting.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import signal
import socket
import threading
import time
from queue import Empty, SimpleQueue
from types import FrameType

import redis

from sheaf.broker.queue import BatchQueue
from sheaf.broker.suspects import Notes
from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.errors import ClusterError, SettingsError
from sheaf.core.last_words import LastWords
from sheaf.core.settings import Settings
from sheaf.run.items import Results, settled_count
from sheaf.scheduling.stall import FIELD, AtHand, at_hand_text
from sheaf.tasks.registry import limited
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.fetcher import Fetcher
from sheaf_worker.claim.heartbeat import Heartbeat
from sheaf_worker.claim.in_flight import InFlight
from sheaf_worker.claim.lookahead import Lookahead
from sheaf_worker.claim.recovery import Recovery
from sheaf_worker.claim.release import take_unstarted
from sheaf_worker.commit.buffer import CommitBuffer
from sheaf_worker.commit.committer import Committer
from sheaf_worker.cores import usable_cores
from sheaf_worker.explain import explain
from sheaf_worker.hosting.host import TERM_S, Host
from sheaf_worker.pool.dispatcher import RELEASE_S
from sheaf_worker.pool.pool import Pool, TaskRun
from sheaf_worker.share import host_name, share_among
from sheaf_worker.vitals import Vitals, limit_end

logger = logging.getLogger(__name__)

#: Seconds that one iteration of the loop waits when nothing happens.
POLL_S = 0.25


class Worker:
    """One process, one pool. `run()` returns after a signal, when everything is committed or handed back."""

    def __init__(self, settings: Settings, connection: redis.Redis) -> None:
        if not os.access(settings.data_dir, os.W_OK | os.X_OK):
            raise SettingsError(
                f"SHEAF_DATA_DIR={settings.data_dir} is not a folder that this worker (uid {os.getuid()}) can write "
                "to; mount the volume that the producer writes to"
            )
        self.label = settings.label or socket.gethostname()
        #: Random per boot: a worker that comes back never meets its own leftovers.
        self.id = f"{self.label}-{secrets.token_hex(4)}"
        self._settings = settings
        self._in_flight = InFlight()
        self._queue = BatchQueue(connection)
        context = WorkerContext(self.id, self.label, settings, connection, self._queue, self._in_flight)
        self._lookahead = Lookahead(settings.ahead_s)
        self._stop_asked = False
        self._shown: tuple[bool, str | None] = (False, None)
        self._last_iteration = time.monotonic()
        #: When something last came into the pool or out of it.
        self._moved = time.monotonic()
        self._cancelled: SimpleQueue[str] = SimpleQueue()
        self._host = host_name(settings.host)
        #: Cores that this worker may use; 0: the size of its pool is set, and it shares with no other worker.
        self._cores = 0 if settings.pool_size else usable_cores()
        #: Processes that the pool should have, and live workers on this host, as of the last heartbeat.
        self._share, self._neighbours = settings.pool_size or self._cores, 1
        self._pool = Pool(
            self._share,
            tasks_dir=settings.tasks_dir,
            task_modules=settings.extra_modules,
            child_items=settings.child_items,
            child_memory_mb=settings.child_memory_mb,
            stdout_fd=settings.prints_fd,
        )
        self._buffer = CommitBuffer(settings.commit_mb * 2**20, settings.commit_s, self._pool.wake)
        self._committer = Committer(context, self._buffer)
        self._recovery = Recovery(context, self._cancelled.put)
        self._fetcher = Fetcher(
            context,
            self._pool.wake,
            self._recovery.call,
            Notes(connection),
            lambda: self._pool.waiting == 0 and self._pool.in_hand == 0,
        )
        self._heartbeat = Heartbeat(
            context, self._describe, lambda: self._vitals.well, self._share_cores if self._cores else None
        )
        self._host_of_programs = Host(context)
        self._vitals = Vitals(
            self.id,
            LastWords(settings.data_dir, self.label),
            self._say_farewell,
            lambda: self._last_iteration,
            lambda: self._heartbeat.last_beat,
            settings.heartbeat_s,
        )

    def run(self) -> int:
        """Work until asked to stop; return 0. If any part breaks or hangs, the process exits with 1."""
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            self._start()
            while not self._stop_asked:
                self._iterate()
            self._end()
        except BaseException as error:  # noqa: BLE001  on any error: no thread may outlive this one
            self._on_thread_failure(threading.ExceptHookArgs((type(error), error, None, threading.current_thread())))
        return 0

    def _start(self) -> None:
        threading.excepthook = self._on_thread_failure
        self._pool.start()
        host = self._host_of_programs
        self._vitals.guard((self._committer, self._heartbeat, self._fetcher, self._recovery, host, host.calls))
        logger.info(
            "worker started", extra={"action": "start", "pool": self._pool.size, "data": str(self._settings.data_dir)}
        )

    def _iterate(self) -> None:
        """Results out, items in."""
        self._last_iteration = time.monotonic()
        # Memory stays bounded: children wait while the output cannot take their records.
        self._pool.paused = self._buffer.over_limit
        for run, results in self._pool.poll(POLL_S):
            self._pass_on(run, results)
        self._take_in()
        self._drop_runs()
        if self._share != self._pool.size:
            self._resize()
        self._release_unstarted()
        self._fetcher.want(self._lookahead.demand(self._pool, stalled=time.monotonic() - self._moved >= RELEASE_S))
        if self._fetcher.drained and self._pool.waiting == 0 and self._pool.in_hand == 0 and self._buffer.busy:
            self._buffer.flush()
        self._show_changes()

    def _share_cores(self, workers: list[WorkerInfo]) -> None:
        """Called by the heartbeat with all live workers."""
        self._share, self._neighbours = share_among(workers, self.id, self._host, self._cores)

    def _resize(self) -> None:
        logger.info(
            "resizing the pool to this worker's share of the cores",
            extra={"action": "resize", "pool": self._share, "cores": self._cores, "workers": self._neighbours},
        )
        self._pool.resize(self._share)

    def _show_changes(self) -> None:
        """Publish at once that this worker has become idle, busy or blocked."""
        state = (len(self._in_flight) > 0, self._problem())
        if state != self._shown:
            self._shown = state
            self._heartbeat.beat_now()

    def _problem(self) -> str | None:
        parts = (self._committer, self._fetcher, self._recovery, self._pool, self._host_of_programs)
        return next((part.problem for part in parts if part.problem), None)

    def _pass_on(self, name: str, results: Results) -> None:
        """Commit these results, unless their run was dropped in the meantime (cancelled, refused)."""
        self._moved = time.monotonic()
        run = self._in_flight.run(name)
        if run is not None:
            self._lookahead.add(name, settled_count(results))
            self._buffer.add(run, results)

    def _take_in(self) -> None:
        while not self._fetcher.failed.empty():
            name, failed = self._fetcher.failed.get()
            self._pass_on(name, [failed])
        while True:
            try:
                claimed, items = self._fetcher.taken.get_nowait()
            except Empty:
                return
            self._moved = time.monotonic()
            manifest = claimed.run.manifest
            options = limited(
                manifest.spec.task,
                manifest.spec.options,
                self._settings.networks,
                self._settings.ca_bundle,
                self._settings.ca_folder,
            )
            spec = dataclasses.replace(manifest.spec, options=options, files=claimed.files)
            program = TaskRun(manifest.run, spec, manifest.output, claimed.separator)
            self._pool.add(program, items)
            self._fetcher.passed_on += 1

    def _release_unstarted(self) -> None:
        """While slow items occupy all children, hand back the batches that wait after them, for other workers."""
        now = time.monotonic()
        if now - self._moved < RELEASE_S or not self._pool.waiting or self._pool.free_capacity or self._pool.paused:
            return
        self._moved = now
        unstarted = take_unstarted(self._pool, self._in_flight)
        if unstarted:
            logger.debug(
                "handing back batches that wait behind slow items",
                extra={"action": "hand-back", "batches": len(unstarted)},
            )
            self._put_back(unstarted)

    def _drop_runs(self) -> None:
        """Drop runs that were cancelled, whose output was refused, or whose task has changed."""
        for source in (self._cancelled, self._committer.refused, self._pool.changed):
            while not source.empty():
                run = source.get()
                self._pool.forget(run)
                dropped = self._in_flight.drop_run(run)
                logger.info("run dropped", extra={"action": "drop", "run": run, "batches": len(dropped)})
                self._release(dropped)

    def _release(self, batches: list[str]) -> None:
        try:
            self._queue.finish(self.id, batches)
        except ClusterError as error:
            logger.warning(
                "could not release batches in Redis; their leases will expire",
                extra={"action": "drop", "why": str(error)},
            )

    def _end(self) -> None:
        """Drain within the grace period: finish what is in hand, commit it, hand back the rest."""
        deadline = time.monotonic() + self._settings.grace_s
        self._vitals.stopping(self._settings.grace_s)
        logger.info("worker stopping", extra={"action": "stop", "in_hand": self._pool.in_hand})
        self._host_of_programs.drain(self._settings.grace_s)
        self._fetcher.stop()
        self._recovery.stop()
        self._pool.drain()
        while self._pool.in_hand and time.monotonic() < deadline:
            for run, results in self._pool.poll(POLL_S):
                self._pass_on(run, results)
        self._pool.close(grace_s=max(0.0, min(1.0, deadline - time.monotonic())))
        self._committer.close(within_s=max(1.0, deadline - time.monotonic()))
        self._host_of_programs.stop(within_s=max(0.0, deadline - time.monotonic()) + 3 * TERM_S)
        self._hand_back()
        self._heartbeat.stop()
        self._queue.close()
        logger.info(
            "worker stopped", extra={"action": "stop", "items": self._committer.items, **self._committer.stats.fields()}
        )
        self._vitals.close()

    def _hand_back(self, *, in_peace: bool = True) -> None:
        rest = self._in_flight.drop_all()
        if rest:
            logger.info("handing back unfinished batches", extra={"action": "hand-back", "batches": len(rest)})
            self._put_back(rest, in_peace=in_peace)

    def _put_back(self, batches: list[str], *, in_peace: bool = True) -> None:
        try:
            self._queue.hand_back(self.id, batches, in_peace=in_peace)
        except ClusterError as error:
            logger.warning(
                "could not release batches in Redis; their leases will expire",
                extra={"action": "hand-back", "why": str(error)},
            )

    def _describe(self) -> dict[str, str]:
        """This worker's entry in the registry."""
        problem = self._problem()
        return {
            "label": self.label,
            "pid": str(os.getpid()),
            "beat_s": f"{self._settings.heartbeat_s:g}",
            "pool": str(self._pool.size),
            "machine": self._host,
            "cores": str(self._cores),
            "state": "stopping"
            if self._stop_asked
            else "blocked"
            if problem
            else "busy"
            if len(self._in_flight)
            else "idle",
            "batches": str(len(self._in_flight)),
            "hosted": str(self._host_of_programs.count),
            "in_hand": str(self._pool.in_hand),
            "items": str(self._committer.items),
            "bytes": str(self._committer.bytes),
            "rate": f"{self._lookahead.rate.per_s:.1f}",
            "problem": problem or "",
            FIELD: at_hand_text(self._at_hand()),
            "explain": explain(
                self._settings,
                self._pool,
                self._cores,
                self._neighbours,
                self._lookahead.rate.per_s,
                self._committer.stats,
            ),
            **self._committer.stats.fields(),
        }

    def _at_hand(self) -> dict[str, AtHand]:
        """What is here of each run: in progress, or finished and not yet committed."""
        found = self._pool.in_progress()
        for run in self._buffer.uncommitted:
            found[run] = found.get(run, AtHand(0, 0, 0.0, 0.0, False))._replace(uncommitted=True)
        return found

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked = True
        self._pool.wake()

    def _on_thread_failure(self, args: threading.ExceptHookArgs) -> None:
        """A thread broke: end the process. Compose or `sheaf up` starts a new one."""
        limit_end()
        thread = args.thread.name if args.thread is not None else "?"
        error = args.exc_value if args.exc_value is not None else args.exc_type()
        fields = {"action": "fail", "part": thread}
        try:
            # What breaks while the process ends may be a consequence of that.
            if not self._vitals.ending:
                logger.critical("a part of the worker broke; exiting", extra=fields, exc_info=error)
        finally:
            self._vitals.end(thread, error)

    def _say_farewell(self) -> None:
        """The process is about to end undrained: hand back its batches, so that others need not wait for leases."""
        self._pool.abandon()
        # What it claimed after the hand-back would be blocked for the length of a lease.
        self._fetcher.stop(within_s=1.0)
        # Unless the cause is known to be another, an item in one of them may be it.
        self._hand_back(in_peace=self._vitals.broke_apart_from_items)
        self._host_of_programs.abandon()
        # Stop the heartbeat first: it would announce the worker again.
        self._heartbeat.stop(within_s=1.0)
        self._queue.registry.leave(self.id)
