"""Hosts processes of programs: takes their starts, runs them beside the pool, ends them, and reports.

They do not count against the pool: one that waits for others holds no place (docs/decisions/0057-signed-starts.md).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable

from sheaf.broker.program_processes import HostSteps, Look, ProcessId
from sheaf.core.errors import ClusterError, ProcessRefused, SettingsError
from sheaf.multiprocessing import folder
from sheaf.multiprocessing.program import process_ended, sweep_programs
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.cores import usable_cores
from sheaf_worker.hosting.admission import Admission
from sheaf_worker.hosting.calls import Calls
from sheaf_worker.hosting.hosted_process import HostedProcess
from sheaf_worker.hosting.readers import Readers
from sheaf_worker.hosting.relay import Relay

logger = logging.getLogger(__name__)

#: Processes that a worker hosts at once, for each core, and at most, unless the setting says otherwise.
PER_CORE, MOST = 64, 256
#: Seconds between two looks while there are processes; until another try after Redis or the system has refused.
LOOK_S, RETRY_S = 1.0, 1.0
#: Seconds between two looks for folders of programs that have died.
SWEEP_S = 2.0
#: Seconds for which a lease may be over: a program whose Redis was away renews it when that is back.
OVER_S = 5.0
#: Seconds from the last start until one process is started ahead, and for which it waits for the next.
SPARE_AFTER_S, SPARE_S = 0.3, 30.0
#: Seconds that a process has to end by SIGTERM when its worker stops.
TERM_S = 1.0
_TERM, _KILL, _INT = 15, 9, 2
#: The exit code of a process that could not be run.
_REFUSED = 1


class Host(threading.Thread):
    """One thread; it starts the processes itself, as the kernel ends them with the thread that did."""

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(name="hosting")
        self._settings = context.settings
        self._worker = context.worker_id
        self._steps = HostSteps(context.connection, context.worker_id)
        self._admission = Admission(context.settings)
        self._connection = context.connection
        self._relay = Relay(self._steps, self._let_go)
        self._readers = Readers(self._relay.add, self._relay.is_full)
        self.calls = Calls(context.connection, self._readers.wake)
        self._most = context.settings.hosted or min(PER_CORE * usable_cores(), MOST)
        self._processes: dict[ProcessId, HostedProcess] = {}
        #: How often each was sent a signal that its program has asked for.
        self._signalled: dict[ProcessId, int] = {}
        #: Programs whose lease is over, and since when.
        self._over: dict[str, float] = {}
        self._spare: HostedProcess | None = None
        self._last_start = float("-inf")
        self._next_look = self._next_sweep = 0.0
        self._retry_at = 0.0
        #: Why no process can be started; None while it can.
        self.problem: str | None = None
        self._stop_by: float | None = None

    @property
    def count(self) -> int:
        """How many processes it hosts."""
        return len(self._processes)

    def drain(self, grace_s: float) -> None:
        """Start no more, and have those that run end within this time. For any thread."""
        self._stop_by = time.monotonic() + grace_s
        self._readers.wake()

    def stop(self, within_s: float | None = None) -> None:
        """After `drain()`: wait for the end of all processes, and of the thread."""
        if self._stop_by is None:
            self.drain(0.0)
        self.calls.stop(within_s)
        if self.ident is not None:
            self.join(within_s)

    def abandon(self) -> None:
        """The worker is about to end undrained, and the kernel kills the processes: their programs should know."""
        # Without Redis, others report them when this worker's lease is over.
        with contextlib.suppress(ClusterError):
            for process in list(self._processes):
                self._let_go(process, -_KILL)
                self._steps.ended(process, -_KILL)

    def run(self) -> None:
        while self._stop_by is None or self._processes or self._relay.waiting:
            now = time.monotonic()
            if self._stop_by is not None and now > self._stop_by + 2 * TERM_S:
                break
            self._iterate(now)
        if self._spare is not None:
            self._spare.discard()
        self._readers.close()

    def _iterate(self, now: float) -> None:
        if self._readers.wait(self._nap_s(now), time.monotonic):
            self._next_look = 0.0
        now = time.monotonic()
        for name, process, exit_code in self._readers.ended():
            self._relay.end(name, exit_code)
            self._forget(name, process, exit_code)
        self._readers.pass_on_due(now)
        if now >= self._retry_at:
            self._talk(now)
        if self._stop_by is not None:
            self._end_all(now)
        else:
            self._keep_spare(now)

    def _talk(self, now: float) -> None:
        """What needs Redis. Without it, processes run on, and what they print waits."""
        try:
            self._relay.flush(now)
            if now >= self._next_look:
                self._look(now)
        except ClusterError as error:
            logger.debug("cannot host processes without Redis", extra={"action": "host", "why": str(error)})
            self._retry_at = now + RETRY_S
            # Programs could not renew their leases either.
            self._next_sweep = now + OVER_S

    def _look(self, now: float) -> None:
        room = 0 if self._stop_by is not None else max(0, self._most - len(self._processes))
        known = {*self._processes, *self._relay.ending()}
        look = self._steps.look(known, room, self._settings.batch_lease_s)
        self._next_look = now + self._look_s(look)
        if self._stop_by is None:
            self._begin_all(look.claims)
        for name in look.lost:
            self._end(name, "it counts as dead, because this worker was silent for too long")
        for name, (number, count) in look.signals.items():
            self._pass_signal(name, number, count)
        self._end_orphans(look, now)
        self._report_lost()
        self._relay.forget({name.program for name in self._processes})
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._sweep()

    def _look_s(self, look: Look) -> float:
        """Seconds until the next look that nothing calls for."""
        look_s = min(
            LOOK_S if self._processes or look.claims else self._settings.heartbeat_s, self._settings.heartbeat_s
        )
        return look_s if look.again_s is None else min(look_s, look.again_s + 0.01)

    def _begin_all(self, claims: Iterable[ProcessId]) -> None:
        for name in claims:
            if name in self._processes:
                continue
            try:
                process = self._take_spare() or HostedProcess(self._settings.data_dir)
            except OSError as error:
                # The system grants no process or descriptor. The start stays claimed, and is named again.
                self._report(f"no process can be started for a program: {error.strerror}")
                self._next_look = time.monotonic() + RETRY_S
                return
            self._begin(name, process)
        self._report(None)

    def _begin(self, name: ProcessId, process: HostedProcess) -> None:
        try:
            admitted = self._admission.admit(name)
            process.tell(admitted.message)
        except (ProcessRefused, SettingsError, OSError) as error:
            process.discard()
            logger.warning(
                "a process of a program was refused",
                extra={"action": "host", "program": name.program, "hosted": name.process, "why": str(error)},
            )
            self._relay.add(
                name, 2, f"sheaf: the process cannot be started: {error}\n".encode(errors="backslashreplace")
            )
            self._relay.end(name, _REFUSED)
            return
        self._processes[name] = process
        self._readers.add(name, process)
        self._last_start = time.monotonic()
        self._steps.running(name, process.pid)
        logger.info(
            "process of a program started",
            extra={"action": "host", "program": name.program, "hosted": name.process, "pid": process.pid},
        )

    def _forget(self, name: ProcessId, process: HostedProcess, exit_code: int) -> None:
        del self._processes[name]
        self._signalled.pop(name, None)
        # There is room for another.
        self._next_look = min(self._next_look, time.monotonic() + 0.05)
        logger.info(
            "process of a program ended",
            extra={
                "action": "host",
                "program": name.program,
                "hosted": name.process,
                "pid": process.pid,
                "status": exit_code,
            },
        )

    def _pass_signal(self, name: ProcessId, number: int, count: int) -> None:
        process = self._processes.get(name)
        if process is not None and number in (_TERM, _KILL, _INT) and self._signalled.get(name, 0) < count:
            self._signalled[name] = count
            process.signal(number)

    def _end_orphans(self, look: Look, now: float) -> None:
        """End the processes of programs that have died."""
        self._over = {program: self._over.get(program, now) for program in look.over}
        for program in {name.program for name in self._processes}:
            is_over = program in look.gone or now - self._over.get(program, now) >= OVER_S
            if is_over or not self._lives(program):
                for name in [name for name in self._processes if name.program == program]:
                    self._end(name, "its program has ended")

    def _lives(self, program: str) -> bool:
        try:
            return folder.is_alive(folder.folder_of(self._settings.data_dir, program))
        except OSError:
            return True  # what cannot be looked at does not count as gone

    def _end(self, name: ProcessId, why: str) -> None:
        process = self._processes.get(name)
        if process is not None:
            fields = {"action": "host", "program": name.program, "hosted": name.process, "why": why}
            logger.info("process of a program is killed", extra=fields)
            process.signal(_KILL)

    def _end_all(self, now: float) -> None:
        """This worker stops."""
        assert self._stop_by is not None  # noqa: S101
        for name, process in self._processes.items():
            if now >= self._stop_by + TERM_S:
                process.signal(_KILL)
            elif now >= self._stop_by and name not in self._signalled:
                self._signalled[name] = 1
                process.signal(_TERM)

    def _report_lost(self) -> None:
        """Report the processes of workers that have died."""
        for worker, process in self._steps.lost():
            self._let_go(process, -_KILL)
            if self._steps.ended(process, -_KILL, worker):
                fields = {"action": "host", "program": process.program, "hosted": process.process, "worker": worker}
                logger.warning("a process was lost with its worker", extra=fields)

    def _let_go(self, process: ProcessId, exit_code: int) -> None:
        """What it held in Redis goes on to others, before its program hears of its end."""
        process_ended(self._connection, *process, killed=exit_code < 0)

    def _sweep(self) -> None:
        """Remove what programs that have died had, in Redis and on the volume."""
        sweep_programs(self._connection)
        for program in folder.sweep(self._settings.data_dir):
            logger.info("what a program left was removed", extra={"action": "host", "program": program})

    def _take_spare(self) -> HostedProcess | None:
        spare, self._spare = self._spare, None
        if spare is not None and spare.exit_code is not None:
            spare.discard()
            return None
        return spare

    def _keep_spare(self, now: float) -> None:
        """While programs start processes, one is there already, with all that it needs imported."""
        ago_s = now - self._last_start
        if self._spare is not None and ago_s > SPARE_S:
            self._spare.discard()
            self._spare = None
        elif self._spare is None and SPARE_AFTER_S <= ago_s <= SPARE_S and len(self._processes) < self._most:
            try:
                self._spare = HostedProcess(self._settings.data_dir)
            except OSError:
                self._last_start = float("-inf")  # another one is not what the system has room for

    def _nap_s(self, now: float) -> float:
        moments = [max(self._next_look, self._retry_at)]
        due = self._readers.next_due()
        if due is not None:
            moments.append(due)
        if self._relay.waiting:
            moments.append(max(now + 0.05, self._retry_at))
        if self._readers.paused or self._stop_by is not None:
            moments.append(now + 0.1)
        if now - self._last_start <= SPARE_S + 1.0:
            moments.append(self._last_start + (SPARE_AFTER_S if self._spare is None else SPARE_S + 0.1))
        return max(0.0, min(moments) - now)

    def _report(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            logger.error("cannot start a process", extra={"action": "host", "why": problem})
        self.problem = problem
