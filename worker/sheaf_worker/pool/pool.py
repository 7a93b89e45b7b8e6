"""Step 4 of 6: supervised processes that run the task on items. Kill any of them: one item is charged, none is lost.

    add() ─► backlog ─► dispatch ══pipe══► child (child/main.py) ══pipe══► reports ─► poll()'s results
                ▲                            ✗ dies
                └──── put back ◄──── bury, quarantine ────► Failed, if it was the item

One selector, no thread, no lock; nothing here waits for a child.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import selectors
import time
from collections.abc import Sequence
from pathlib import Path

from sheaf.core.logs import STDERR, Sink
from sheaf.run.items import Item, Results
from sheaf.run.sessions import party_of
from sheaf.scheduling.stall import AtHand
from sheaf_worker.pool.backlog import Backlog, ItemBlock
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_process import ChildProcess
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.child_status import ChildStatus, choices_of
from sheaf_worker.pool.dispatcher import Dispatcher
from sheaf_worker.pool.event_loop import EventLoop
from sheaf_worker.pool.places import Places
from sheaf_worker.pool.results import Reports
from sheaf_worker.pool.watchdog import WATCH_S, Watchdog
from sheaf_worker.wire.channel import TaskRun, encode_program
from sheaf_worker.wire.exit_codes import explain_exit
from sheaf_worker.wire.ring import ring_bytes

__all__ = ["ChildStatus", "ItemBlock", "Pool", "TaskRun"]

logger = logging.getLogger(__name__)

#: Reads per child and poll, of a quarter of a MiB each at most.
_READS = 4


class Pool:
    """`size` children. Everything but wake() belongs to one thread, which has to live as long as the pool."""

    def __init__(
        self,
        size: int,
        *,
        tasks_dir: Path | None = None,
        task_modules: Sequence[str] = (),
        child_items: int = 0,
        child_memory_mb: int = 0,
        stdout_fd: int = STDERR,
    ) -> None:
        # Absolute, as a child may have another working directory.
        self._tasks_dir = tasks_dir and tasks_dir.absolute()
        self._task_modules = task_modules
        self._stdout = Sink(stdout_fd)
        self._event_loop = EventLoop()
        self._places = Places(size, self._spawn)
        self._backlog = Backlog()
        self._reports = Reports(self._backlog)
        #: Runs whose task has changed since they were submitted: dropped here, for the worker to release.
        self.changed = self._reports.changed
        self._dispatcher = Dispatcher(
            self._backlog, size, child_items, self._reports.quarantine.bisection, self._places.assign
        )
        self._watchdog = Watchdog(child_memory_mb)
        self._paused = False
        self._stopped = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Items not yet sent to a child."""
        return len(self._backlog)

    @property
    def backlog(self) -> Backlog:
        """The items that are not yet sent to a child. Items taken out of it get no result."""
        return self._backlog

    @property
    def parties(self) -> set[str]:
        """The parties (runs, programs' sessions) that children serve."""
        return {party_of(child.run) for child in list(self._places.children) if child.run is not None}

    @property
    def in_hand(self) -> int:
        """Items sent to a child and not finished, of runs that are not forgotten."""
        return sum(len(child.outstanding) for child in self._places.everyone if child.forgotten_at is None)

    @property
    def at_once(self) -> int:
        """Items that can be in progress at once; one for a child with nothing to do, whatever it may be given next."""
        children = [child for child in list(self._places.children) if child.outstanding]
        return self.size - len(children) + sum(child.at_once for child in children)

    @property
    def free_capacity(self) -> int:
        """Items that could be begun at once if they were here."""
        busy = sum(min(child.at_once, len(child.outstanding)) for child in list(self._places.children))
        return self.at_once - busy

    @property
    def choices(self) -> list[tuple[str, str, str]]:
        """What was chosen for each child, and by the task in it: name, value, reason."""
        return [choice for child in list(self._places.children) for choice in choices_of(child)]

    @property
    def children(self) -> list[ChildStatus]:
        now = time.monotonic()
        children = sorted(list(self._places.children), key=lambda child: child.number)
        return [ChildStatus.of(child, now, self._places.deaths(child.number)) for child in children]

    def in_progress(self) -> dict[str, AtHand]:
        """The items in progress of each run, also in children that have lent their places. For any thread."""
        now = time.monotonic()
        found: dict[str, AtHand] = {}
        for child in self._places.everyone:
            program, in_hand = child.program, child.slots.in_hand()
            if program is not None and in_hand and child.forgotten_at is None:
                index = min(in_hand, key=in_hand.__getitem__)
                mine = AtHand(
                    len(in_hand), index, max(0.0, now - in_hand[index]), program.spec.item_timeout_s or 0.0, False
                )
                other = found.get(program.run, mine._replace(begun=0))
                oldest = max(mine, other, key=lambda each: each.since_s)
                found[program.run] = oldest._replace(begun=mine.begun + other.begun)
        return found

    @property
    def paused(self) -> bool:
        """While true, results are not read, so children wait with theirs and memory stays bounded."""
        return self._paused

    @paused.setter
    def paused(self, value: bool) -> None:
        if value != self._paused:
            self._paused = value
            self._watchdog.forgive(time.monotonic())

    @property
    def size(self) -> int:
        """How many children there should be."""
        return self._places.size

    def resize(self, size: int) -> None:
        """Change the number of children. Those beyond it finish what they have in hand, and end."""
        self._dispatcher.size = size
        self._places.resize(size)

    def start(self) -> None:
        """Start the children. They end with the calling thread, however that ends."""
        atexit.register(self._kill_all)
        self._places.start()

    def add(self, program: TaskRun, items: ItemBlock | Sequence[Item]) -> None:
        """Take over items. Raises TaskError if the run's options are not plain values."""
        encode_program(program)
        block = items if isinstance(items, ItemBlock) else ItemBlock.of(items)
        refusal = self._reports.refusal(program.run)
        if refusal is None:
            self._backlog.add(program, block)
        else:
            self._reports.fail(program.run, block.indexes, refusal)

    def forget(self, run: str) -> list[int]:
        """Drop all items of a run; return the indexes of those in the backlog. Children that do not soon finish what
        they have of it are replaced, and poll() returns no more results of it.
        """
        self._reports.quarantine.forget(run)
        self._reports.drop(run)
        for child in self._places.everyone:
            if child.run == run:
                child.forget_run()
        return [item.index for item in self._backlog.drop(run)]

    def drain(self) -> dict[str, list[int]]:
        """Send nothing more; return the backlog. Children return what they have not begun, which has no result."""
        self._stop()
        for child in self._places.everyone:
            if child.outstanding:
                child.recall()
        return {run: [item.index for item in self._backlog.drop(run)] for run in self._backlog.runs()}

    def wake(self) -> None:
        """Make a poll() return early. For any thread, and for signal handlers."""
        self._event_loop.wake()

    @property
    def problem(self) -> str | None:
        """Why nothing can be worked on; None while something can."""
        return self._places.problem

    def poll(self, timeout_s: float) -> list[tuple[str, Results]]:
        """Run the event loop once, waiting up to `timeout_s` for something to happen; return what is finished."""
        self._dispatch()
        for child in self._places.everyone:
            self._listen(child)
        for child, descriptor, events in self._event_loop.wait(0 if self._reports else min(timeout_s, WATCH_S)):
            self._handle_event(child, descriptor, events)
        self._supervise()
        self._dispatch()
        if self._reports:
            self._places.moved()
        return self._reports.collect()

    def close(self, grace_s: float) -> None:
        """Ask the children to end, then kill them; when this returns, none is left. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._stop()
        for child in self._places.everyone:
            child.end()
        deadline = time.monotonic() + grace_s
        self.paused = False
        while self._places.everyone and (left_s := deadline - time.monotonic()) > 0:
            self.poll(left_s)
        self._kill_all()
        atexit.unregister(self._kill_all)
        self._event_loop.close()

    def abandon(self) -> None:
        """Kill the children and what they have started. For any thread, when this process is about to end."""
        for child in self._places.everyone:
            child.kill("abandoned")

    def _kill_all(self) -> None:
        for child in self._places.everyone:
            child.kill("closed")
        for child in self._places.everyone:
            child.bury()
        self._places.clear()

    # --- children ------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._stopped = True
        self._places.stop()

    def _spawn(self, number: int) -> ChildHandle:
        """Start a process; raises OSError if the system refuses one."""
        process = ChildProcess(
            f"sheaf-child-{number}", self._tasks_dir, ring_bytes(self.size), self._task_modules, self._stdout
        )
        child = ChildHandle(number, process)
        try:
            self._event_loop.add(child)
            self._listen(child)
        except OSError:
            # The kernel has no room for another descriptor to watch: the child's end would go unnoticed.
            self._unwatch(child)
            child.kill("cannot be watched")
            child.bury()
            raise
        return child

    def _unwatch(self, child: ChildHandle) -> None:
        self._event_loop.forget(child.sentinel, child.stdout.descriptor, child.channel.descriptor)

    def _listen(self, child: ChildHandle) -> None:
        self._event_loop.listen(child, read=not self._paused and child.pipe_closed_at is None)

    def _handle_event(self, child: ChildHandle, descriptor: int, events: int) -> None:
        if child.state is State.GONE:
            return  # it was buried earlier in this poll
        if descriptor == child.sentinel:
            self._bury(child)
            return
        if descriptor == child.stdout.descriptor:
            if not child.stdout.pass_on():
                self._event_loop.forget(descriptor)
            return
        if events & selectors.EVENT_WRITE:
            child.channel.flush()
        if events & selectors.EVENT_READ:
            self._read(child)

    def _read(self, child: ChildHandle) -> None:
        try:
            for _ in range(_READS):
                messages = child.channel.receive()
                for message in messages:
                    self._reports.handle(child, message)
                if not messages:
                    return
        except Exception:  # noqa: BLE001 - a task may have written anything into the pipe
            # The end of the pipe, or no valid message. The process has probably ended, which will say more.
            child.pipe_closed()

    def _bury(self, child: ChildHandle) -> None:
        """A child has ended: take what it has finished, decide about the rest, and make room for another."""
        self._unwatch(child)
        if child.pipe_closed_at is None:
            with contextlib.suppress(Exception):  # a task may have written anything into the pipe
                for message in child.channel.drain():
                    self._reports.handle(child, message)
        in_hand = {index: begun for index, begun in child.slots.in_hand().items() if index in child.outstanding}
        state = child.state
        exit_code = child.bury()
        why = child.killed or explain_exit(exit_code)
        if state is not State.ENDING:
            fields = {"action": "bury", "pid": child.pid, "run": child.run, "in_hand": sorted(in_hand)[:20]}
            logger.warning("a pool process died", extra={**fields, "why": why})
        if state is State.PREPARING and not child.missing:
            self._reports.died_preparing(child, explain_exit(exit_code))
        self._reports.quarantine.after_death(child, exit_code, in_hand)
        self._places.remove(child, before=state, why=why)

    def _supervise(self) -> None:
        now = time.monotonic()
        if self._watchdog.due(now):
            self._watchdog.check(self._places.everyone, now, watch_items=not self._paused)
            self._places.tend(now, idle=not len(self._backlog))
            if not self._stopped:
                self._dispatcher.recall_idle_items(self._places.children, now)

    def _dispatch(self) -> None:
        if not self._stopped:
            self._dispatcher.dispatch(self._places.children)
