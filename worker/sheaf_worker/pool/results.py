"""Takes in what children report, and gathers the results that the pool gives out."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from sheaf.core.errors import TaskChanged
from sheaf.run.items import Bundle, Failed, Item, Result, Results, single_results
from sheaf_worker.pool.backlog import Backlog, ItemBlock, Suspect
from sheaf_worker.pool.child_handle import ChildHandle, State
from sheaf_worker.pool.quarantine import Quarantine, Verdict
from sheaf_worker.wire.channel import Message, TaskRun, unpack_stretches

#: Deaths in a row during the import of a run's task, or exceptions in a row without an item, until the run is refused.
_BARREN_LIMIT = 3
#: Seconds for which a run that was refused is not tried again.
_REFUSED_S = 60.0
#: Runs whose speed is remembered.
_SPEEDS = 64


class HandlingFailed(BaseException):
    """We failed at a message that was good. What it told of may be lost here, so the worker has to end.

    No Exception: those are what a message raises that is none.
    """


class Reports:
    def __init__(self, waiting: Backlog) -> None:
        self._waiting = waiting
        self.quarantine = Quarantine(waiting, self.add)
        self._results: dict[str, list[Result | Bundle]] = {}
        #: Seconds that an item of a run took lately.
        self._speeds: dict[str, float] = {}
        #: Deaths in a row while a child imported the run's task.
        self._barren: Counter[str] = Counter()
        #: Runs whose task cannot be used: until when, and why.
        self._refused: dict[str, tuple[float, Verdict]] = {}
        #: Runs whose task has changed since they were submitted.
        self.changed: SimpleQueue[str] = SimpleQueue()

    def __bool__(self) -> bool:
        return bool(self._results)

    def collect(self) -> list[tuple[str, Results]]:
        """Hand over what has come since the last call."""
        results, self._results = self._results, {}
        return list(results.items())

    def add(self, run: str, results: Iterable[Result | Bundle]) -> None:
        gathered = self._results.setdefault(run, [])
        gathered.extend(results)
        if not gathered:
            del self._results[run]

    def drop(self, run: str) -> None:
        """Nobody wants the run's results any more."""
        self._results.pop(run, None)

    def refusal(self, run: str) -> Verdict | None:
        """Why the run's items fail without being tried; None: they are tried."""
        until, verdict = self._refused.get(run, (0.0, None))
        return verdict if until > time.monotonic() else None

    def fail(self, run: str, indexes: Iterable[int], verdict: Verdict) -> None:
        self.add(run, [Failed(index, verdict.error, verdict.message, 1) for index in indexes])

    def hear(self, child: ChildHandle, message: Message) -> None:
        """Raises whatever a message raises that is none, with nothing done; HandlingFailed if we fail at a good one."""
        child.heard = time.monotonic()
        handle = self._understood(child, message)
        try:
            handle()
        except Exception as error:
            raise HandlingFailed(f"a message of a pool process could not be handled: {error!r}") from error

    def _understood(self, child: ChildHandle, message: Message) -> Callable[[], None]:
        """What is to be done. All of a message is read here: a task may have written anything into the pipe."""
        kind, *rest = message
        program = child.program
        handle: Callable[[], None] = _pass
        if kind == "results" and program is not None:
            handle = self._results_in(child, program, *rest)
        elif kind == "returned":
            handle = partial(self._take_back, child, [int(index) for index in rest[0]])
        elif kind == "ready" and program is not None:
            handle = partial(self._begin, child, program, int(rest[0]), int(rest[1]), bool(rest[2]))
        elif kind in ("refused", "broke"):
            handle = self._failure_in(child, kind, *rest)
        else:
            handle = self._note_in(child, kind, *rest)
        return handle

    def _failure_in(
        self, child: ChildHandle, kind: str, error: str, text: str, in_hand: Sequence[int] = ()
    ) -> Callable[[], None]:
        if kind == "broke":
            return partial(self._take_exception, child, str(error), str(text), [int(index) for index in in_hand])
        if error == TaskChanged.__name__:
            return partial(self._give_up, child)
        return partial(self.refuse, child, Verdict(str(error), str(text)))

    def _note_in(self, child: ChildHandle, kind: str, told: Any = None) -> Callable[[], None]:
        if kind == "hello" and child.state is State.STARTING:
            return partial(setattr, child, "state", State.IDLE)
        if kind in ("holding", "waits"):
            return partial(setattr, child, kind, int(told))
        if kind == "lacks":
            return partial(setattr, child, "lacks", str(told))
        if kind == "choices":
            return partial(setattr, child, "told", [(str(name), str(value), str(why)) for name, value, why in told])
        return _pass

    def _begin(self, child: ChildHandle, program: TaskRun, window: int, at_once: int, keeps: bool) -> None:
        self._barren.pop(program.run, None)
        if child.state is State.PREPARING:
            child.forgotten = None
            child.ready(window, at_once, keeps, self._speeds.get(program.run))

    def died_preparing(self, child: ChildHandle, cause: str) -> None:
        """A child died before its task was imported; a run to which that happens again and again is refused."""
        # In a process that had done other items before, one of those may have seen to its end.
        if child.program is not None and child.done == 0 and child.forgotten is None:
            self._barren[child.program.run] += 1
            if self._barren[child.program.run] >= _BARREN_LIMIT:
                self.refuse(child, Verdict("TaskError", f"{child.program.task!r} cannot be imported: {cause}"))

    def _give_up(self, child: ChildHandle) -> None:
        """The task is another one by now. No item fails for that: the worker lets go of the run's batches."""
        if child.program is not None:
            self._waiting.drop(child.program.run)
            self.changed.put(child.program.run)
            child.take(list(child.outstanding))
            child.program = child.forgotten = None
            child.state = State.IDLE

    def refuse(self, child: ChildHandle, verdict: Verdict) -> None:
        """The run that the child serves cannot be: all its items fail, those that still come too (for a minute)."""
        program = child.program
        if program is None:
            return
        now = time.monotonic()
        self._refused = {run: entry for run, entry in self._refused.items() if entry[0] > now}
        self._refused[program.run] = (now + _REFUSED_S, verdict)
        self._barren.pop(program.run, None)
        lost = list(child.outstanding)
        self.fail(program.run, [*lost, *(item.index for item in self._waiting.drop(program.run))], verdict)
        child.take(lost)
        self.quarantine.forget(program.run)
        child.program = child.forgotten = None
        if child.state in (State.PREPARING, State.READY):
            child.state = State.IDLE

    def _results_in(
        self,
        child: ChildHandle,
        program: TaskRun,
        packed: tuple[int, ...],
        packed_lengths: bytes,
        records: bytes | int,
        failures: Sequence[tuple[int, str, str, int]],
        busy_s: float,
    ) -> Callable[[], None]:
        """Nothing here is done item by item in Python, as long as no item failed."""
        stretches = unpack_stretches(packed)
        failed = [Failed(int(index), str(error), str(text), int(tries)) for index, error, text, tries in failures]
        results: list[Result | Bundle] = [*failed]
        results += _bundles(child, stretches, array("Q", packed_lengths).tolist(), records)
        finished = [*stretches, [failure.index for failure in failed]]
        return partial(self._take_results, child, program, results, finished, float(busy_s))

    def _take_results(
        self,
        child: ChildHandle,
        program: TaskRun,
        results: list[Result | Bundle],
        finished: list[Sequence[int]],
        busy_s: float,
    ) -> None:
        unknown = set().union(*map(child.take, finished))
        if unknown:
            results = [result for result in single_results(results) if result.index not in unknown]
        count = sum(map(len, finished)) - len(unknown)
        if count:
            # First of all: what the child does not have any more is either kept here or done again by nobody.
            if child.forgotten is None:
                self.add(program.run, results)
                for indexes in finished:
                    self.quarantine.settle(program.run, indexes)
            child.done += count
            child.waits = 0
            child.held = False
            child.barren = child.at_a_loss = 0
            self._learn(program, child.learn(count, busy_s))
            self._let_go_if_done(child)

    def _learn(self, program: TaskRun, speed_s: float) -> None:
        self._speeds.pop(program.run, None)
        # The one that was heard of last stands last.
        self._speeds[program.run] = speed_s
        if len(self._speeds) > _SPEEDS:
            del self._speeds[next(iter(self._speeds))]

    def _take_back(self, child: ChildHandle, indexes: Sequence[int]) -> None:
        """What it had not begun goes back to the front of those that wait."""
        child.recalled = None
        # Only while it should have something: what it had finished may have come just before this answer.
        lost = child.outstanding and not indexes and not child.slots.in_hand()
        child.at_a_loss = child.at_a_loss + 1 if lost else 0
        if child.program is not None:
            items = [Item(index, child.outstanding[index]) for index in indexes if index in child.outstanding]
            if child.forgotten is not None:
                pass  # nobody wants them
            elif child.alone:
                self._waiting.suspects.extendleft(Suspect(child.program, item) for item in items)
            else:
                self._waiting.add(child.program, ItemBlock.of(items), front=True)
            child.take(indexes)
            self._let_go_if_done(child)

    def _let_go_if_done(self, child: ChildHandle) -> None:
        """Of a run that was forgotten it has nothing any more: it may go on with others."""
        if child.forgotten is not None and not child.outstanding:
            child.forgotten = None

    def _take_exception(self, child: ChildHandle, error: str, message: str, in_hand: Sequence[int]) -> None:
        """An exception escaped the task: to the items it is as if the process had died; the child goes on."""
        verdict = Verdict(error, message)
        if child.forgotten is not None:
            child.take(in_hand)
            self._let_go_if_done(child)
            return
        if in_hand:
            self.quarantine.blame(child, in_hand, verdict)
            child.take(in_hand)
            child.held = False
            return
        child.barren += 1
        if child.barren >= _BARREN_LIMIT:
            self.refuse(child, verdict)
            # It would go on trying.
            child.kill("refused")


def _pass() -> None:
    """Nothing is to be done."""


def _bundles(
    child: ChildHandle, stretches: Sequence[Sequence[int]], lengths: list[int], records: bytes | int
) -> Iterator[Bundle]:
    """A bundle for each stretch. In the memory that is shared, they are one loan together."""
    if isinstance(records, bytes):
        child.ring.sweep()
        view, borrow = memoryview(records), None
    else:
        view, borrow = child.ring.lend(records, sum(lengths))
    if len(stretches) == 1:
        yield Bundle(stretches[0], lengths, view, borrow)
        return
    first = start = 0
    for indexes in stretches:
        own = lengths[first : first + len(indexes)]
        end = start + sum(own)
        yield Bundle(indexes, own, view[start:end], borrow)
        first, start = first + len(indexes), end
