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
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sheaf.core.logs import STDERR, Sink
from sheaf.run.items import Item, Results
from sheaf.run.sessions import party_of
from sheaf.scheduling.stall import AtHand
from sheaf_worker.pool.backlog import Backlog, ItemBlock
from sheaf_worker.pool.child_handle import NOWHERE, ChildHandle
from sheaf_worker.pool.child_process import ChildProcess
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.child_status import ChildStatus, choices_of
from sheaf_worker.pool.dispatcher import Dispatcher
from sheaf_worker.pool.event_loop import EventLoop
from sheaf_worker.pool.lending import Lending
from sheaf_worker.pool.quarantine import NESTED
from sheaf_worker.pool.reserve import Reserve
from sheaf_worker.pool.results import Reports
from sheaf_worker.pool.watchdog import WATCH_S, Watchdog
from sheaf_worker.wire.channel import TaskRun, encode_program
from sheaf_worker.wire.exit_codes import explain_exit
from sheaf_worker.wire.ring import ring_bytes

__all__ = ["ChildStatus", "ItemBlock", "Pool", "TaskRun"]

logger = logging.getLogger(__name__)

#: Reads per child and poll, of a quarter of a MiB each at most.
_READS = 4
#: Seconds before a child that cannot start is started again: at first, and at most.
_BACK_OFF_S = (0.1, 5.0)


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
        self._size = size
        # Absolute, as a child may have another working directory.
        self._tasks_dir = tasks_dir and tasks_dir.absolute()
        self._task_modules = task_modules
        self._stdout = Sink(stdout_fd)
        self._event_loop = EventLoop()
        self._by_number: dict[int, ChildHandle] = {}
        #: Children without a place: in reserve, or about to end.
        self._others: list[ChildHandle] = []
        self._reserve = Reserve()
        self._lending = Lending()
        #: Places without a child, and when to start one.
        self._vacant: dict[int, float] = {}
        self._failed_starts = 0
        #: Why a process could not be started the last time.
        self._start_error = ""
        self._deaths: Counter[int] = Counter()
        self._backlog = Backlog()
        self._reports = Reports(self._backlog)
        #: Runs whose task has changed since they were submitted: dropped here, for the worker to release.
        self.changed = self._reports.changed
        self._dispatcher = Dispatcher(
            self._backlog, size, child_items, self._reports.quarantine.bisection, self._assign
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
        """What is not yet sent to a child. What is taken out of it has no result."""
        return self._backlog

    @property
    def parties(self) -> set[str]:
        """The parties (runs, programs' sessions) that children serve."""
        return {party_of(child.run) for child in list(self._by_number.values()) if child.run is not None}

    @property
    def in_hand(self) -> int:
        """Items sent to a child and not finished, of runs that are not forgotten."""
        return sum(len(child.outstanding) for child in self._everyone if child.forgotten_at is None)

    @property
    def _everyone(self) -> list[ChildHandle]:
        return [*self._by_number.values(), *self._others]

    @property
    def at_once(self) -> int:
        """Items that can be in progress at once; one for a child with nothing to do, whatever it may be given next."""
        children = [child for child in list(self._by_number.values()) if child.outstanding]
        return self._size - len(children) + sum(child.at_once for child in children)

    @property
    def free_capacity(self) -> int:
        """Items that could be begun at once if they were here."""
        busy = sum(min(child.at_once, len(child.outstanding)) for child in list(self._by_number.values()))
        return self.at_once - busy

    @property
    def choices(self) -> list[tuple[str, str, str]]:
        """What was chosen for each child, and by the task in it: name, value, reason."""
        return [choice for child in list(self._by_number.values()) for choice in choices_of(child)]

    @property
    def children(self) -> list[ChildStatus]:
        now = time.monotonic()
        return [ChildStatus.of(child, now, self._deaths[number]) for number, child in sorted(self._by_number.items())]

    def in_progress(self) -> dict[str, AtHand]:
        """What is in progress of each run, on a lent place too, the oldest item by name. For any thread."""
        now = time.monotonic()
        found: dict[str, AtHand] = {}
        for child in self._everyone:
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
        return self._size

    def resize(self, size: int) -> None:
        """Change the number of children. Surplus ones finish what they have in hand, and end."""
        before, self._size = self._size, size
        self._dispatcher.size = size
        for number in range(before, size):
            if number not in self._by_number:
                self._vacant.setdefault(number, 0.0)
        for number in [number for number in self._vacant if number >= size]:
            del self._vacant[number]
        for number, child in self._by_number.items():
            if number >= size:
                child.retire()
                if len(child.outstanding) > 1:
                    child.recall()

    def start(self) -> None:
        """Start the children. They end with the calling thread, however that ends."""
        atexit.register(self._kill_all)
        for number in range(self._size):
            self._start_child(number)

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
        for child in self._everyone:
            if child.run == run:
                child.forget_run()
        return [item.index for item in self._backlog.drop(run)]

    def drain(self) -> dict[str, list[int]]:
        """Send nothing more; return the backlog. Children return what they have not begun, which has no result."""
        self._stopped = True
        for child in self._everyone:
            if child.outstanding:
                child.recall()
        return {run: [item.index for item in self._backlog.drop(run)] for run in self._backlog.runs()}

    def wake(self) -> None:
        """Make a poll() return early. For any thread, and for signal handlers."""
        self._event_loop.wake()

    @property
    def problem(self) -> str | None:
        """Why nothing can be worked on: no process starts, not even at the second try; or all of them wait."""
        beginning = (State.STARTING, State.PREPARING)
        working = any(child.state not in beginning for child in list(self._by_number.values()))
        if working or self._failed_starts < 2 or not self._start_error:
            return self._lending.problem
        return (
            f"no process of the pool can be started ({self._start_error}); it is tried again and again. If the limits "
            "of this machine or container are reached (processes, open files, memory), raise them"
        )

    def poll(self, timeout_s: float) -> list[tuple[str, Results]]:
        """Run the event loop once, waiting up to `timeout_s` for something to happen; return what is finished."""
        self._dispatch()
        for child in self._everyone:
            self._listen(child)
        for child, descriptor, events in self._event_loop.wait(0 if self._reports else min(timeout_s, WATCH_S)):
            self._handle_event(child, descriptor, events)
        self._supervise()
        self._dispatch()
        if self._reports:
            self._lending.moved()
        return self._reports.collect()

    def close(self, grace_s: float) -> None:
        """Ask the children to end, then kill them; when this returns, none is left. May be called twice."""
        if self._closed:
            return
        self._closed = self._stopped = True
        for child in self._everyone:
            child.end()
        deadline = time.monotonic() + grace_s
        self.paused = False
        while self._everyone and (left_s := deadline - time.monotonic()) > 0:
            self.poll(left_s)
        self._kill_all()
        atexit.unregister(self._kill_all)
        self._event_loop.close()

    def abandon(self) -> None:
        """Kill the children and what they have started. For any thread, when this process is about to end."""
        for child in self._everyone:
            child.kill("abandoned")

    def _kill_all(self) -> None:
        for child in self._everyone:
            child.kill("closed")
        for child in self._everyone:
            child.bury()
        self._by_number.clear()
        self._others.clear()

    # --- children ------------------------------------------------------------------------------------------------

    def _start_child(self, number: int) -> None:
        self._vacant.pop(number, None)
        child = self._spawn(number)
        if child is None:
            self._vacate(number, failed=True)
        else:
            self._by_number[number] = child

    def _spawn(self, number: int) -> ChildHandle | None:
        try:
            process = ChildProcess(
                f"sheaf-child-{number}", self._tasks_dir, ring_bytes(self._size), self._task_modules, self._stdout
            )
        except OSError as error:
            logger.error("a pool process cannot be started", extra={"action": "spawn", "why": str(error)})
            self._start_error = str(error)
            return None
        child = ChildHandle(number, process)
        self._event_loop.add(child)
        self._listen(child)
        return child

    def _assign(self, child: ChildHandle, program: TaskRun) -> None:
        """Have the child serve this run, or replace it by one that has imported the run's module, or none."""
        if child.suits(program) and (child.module is not None or not self._reserve.has_module_of(program)):
            child.serve(program)
            return
        number = child.number
        other = self._reserve.take(program)
        if other is None:
            other = self._spawn(number)
            if other is None:
                return
        else:
            self._others.remove(other)
            if other.free:
                other.serve(program)
        other.take_place(number, for_suspects=child.for_suspects)
        child.leave_place()
        self._by_number[number] = other
        self._others.append(child)
        if not self._reserve.keep(child):
            child.end()

    def _lend_places(self) -> None:
        """Children that wait for the cluster make room for what they wait for."""
        places = self._by_number.values()
        for child in self._lending.to_lend(places, self._size):
            number = child.number
            child.leave_place()
            if child.unstarted > 0:
                child.recall()
            del self._by_number[number]
            self._others.append(child)
            self._lending.lent.append(child)
            other = self._reserve.take_fresh()
            if other is not None:
                self._others.remove(other)
                other.take_place(number)
                self._by_number[number] = other
            else:
                self._vacate(number, failed=False)
        for child in self._lending.returned():
            if not self._reserve.keep(child):
                child.end()
        hopeless = self._lending.hopeless(places)
        if hopeless is not None:
            hopeless.kill(NESTED)

    def _keep_reserve(self, now: float) -> None:
        for child in self._reserve.evict(now):
            child.end()
        idle = not len(self._backlog)
        if not self._stopped and self._reserve.wants(self._by_number.values(), now, idle=idle):
            fresh = self._spawn(NOWHERE)
            if fresh is not None:
                self._others.append(fresh)
                self._reserve.add_fresh(fresh)

    def _vacate(self, number: int, *, failed: bool) -> None:
        self._failed_starts = self._failed_starts + 1 if failed else 0
        if not 0 <= number < self._size:
            return  # it had no place, or the pool has become smaller
        first, most = _BACK_OFF_S
        delay_s = min(most, first * 2.0 ** min(self._failed_starts, 10)) if failed else 0.0
        self._vacant[number] = time.monotonic() + delay_s

    def _fill_vacancies(self, now: float) -> None:
        if not self._stopped:
            for number in [number for number, due in self._vacant.items() if due <= now]:
                self._start_child(number)

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
        self._event_loop.forget(child.sentinel, child.stdout.descriptor, child.channel.descriptor)
        if child.pipe_closed_at is None:
            with contextlib.suppress(Exception):  # a task may have written anything into the pipe
                for message in child.channel.drain():
                    self._reports.handle(child, message)
        in_hand = {index: begun for index, begun in child.slots.in_hand().items() if index in child.outstanding}
        state = child.state
        exit_code = child.bury()
        if child in self._others:
            self._others.remove(child)
            self._reserve.drop(child)
        else:
            del self._by_number[child.number]
        if state is not State.ENDING:
            self._deaths[child.number] += 1
            fields = {"action": "bury", "pid": child.pid, "run": child.run, "in_hand": sorted(in_hand)[:20]}
            logger.warning("a pool process died", extra={**fields, "why": child.killed or explain_exit(exit_code)})
        if state is State.PREPARING and not child.missing:
            self._reports.died_preparing(child, explain_exit(exit_code))
        self._reports.quarantine.after_death(child, exit_code, in_hand)
        self._vacate(child.number, failed=state in (State.STARTING, State.PREPARING))
        if child.missing:
            self._start_error = child.missing
        elif state is State.STARTING:
            self._start_error = f"it ended before it could work: {child.killed or explain_exit(exit_code)}"
        self._fill_vacancies(time.monotonic())
        successor = self._by_number.get(child.number)
        if successor is not None:
            # Suspects go on being done there, so that no other items wait behind them.
            successor.take_place(child.number, for_suspects=child.for_suspects)

    def _supervise(self) -> None:
        now = time.monotonic()
        if self._watchdog.due(now):
            if self._start_error and any(child.state is State.READY for child in self._by_number.values()):
                self._start_error = ""
            self._watchdog.check(self._everyone, now, watch_items=not self._paused)
            if not self._stopped:
                self._lend_places()
            self._keep_reserve(now)
            if not self._stopped:
                self._dispatcher.recall_idle_items(self._by_number.values(), now)
            self._fill_vacancies(now)

    def _dispatch(self) -> None:
        if not self._stopped:
            self._dispatcher.dispatch(self._by_number.values())
