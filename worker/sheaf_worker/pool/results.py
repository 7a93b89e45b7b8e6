"""Handles the messages of children, and collects the results that poll() returns."""

from __future__ import annotations

import logging
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
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.pool.child_state import State
from sheaf_worker.pool.quarantine import Quarantine, Verdict
from sheaf_worker.wire.channel import Message, TaskRun, unpack_spans

logger = logging.getLogger(__name__)

#: A run is refused after this many consecutive deaths while its task is imported, or exceptions without an item.
_FAILED_STARTS_LIMIT = 3
#: Seconds for which a refused run is not tried again.
_REFUSED_S = 60.0
#: Runs whose speed is remembered.
_KNOWN_RUNS = 64


class HandlingFailed(BaseException):
    """A valid message could not be handled. Its results may be lost here, so the worker has to end.

    Not an Exception, which is what an invalid message raises.
    """


class Reports:
    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self.quarantine = Quarantine(backlog, self.add)
        self._results: dict[str, list[Result | Bundle]] = {}
        #: Run -> seconds that one of its items took recently.
        self._item_s: dict[str, float] = {}
        #: Run -> consecutive deaths while a child imported its task.
        self._failed_imports: Counter[str] = Counter()
        #: Runs whose task cannot be imported at the moment.
        self._delayed: set[str] = set()
        #: Runs whose task cannot be used: until when, and why.
        self._refused: dict[str, tuple[float, Verdict]] = {}
        #: Runs whose task has changed since they were submitted.
        self.changed: SimpleQueue[str] = SimpleQueue()

    def __bool__(self) -> bool:
        return bool(self._results)

    def collect(self) -> list[tuple[str, Results]]:
        """Return the results since the last call."""
        results, self._results = self._results, {}
        return list(results.items())

    def add(self, run: str, results: Iterable[Result | Bundle]) -> None:
        collected = self._results.setdefault(run, [])
        collected.extend(results)
        if not collected:
            del self._results[run]

    def drop(self, run: str) -> None:
        """The run's results are no longer wanted."""
        self._results.pop(run, None)

    def refusal(self, run: str) -> Verdict | None:
        """Why the run's items fail without being tried; None: they are tried."""
        until, verdict = self._refused.get(run, (0.0, None))
        return verdict if until > time.monotonic() else None

    def fail(self, run: str, indexes: Iterable[int], verdict: Verdict) -> None:
        self.add(run, [Failed(index, verdict.error, verdict.message, 1) for index in indexes])

    def handle(self, child: ChildHandle, message: Message) -> None:
        """Raises any exception at an invalid message, which has no effect; HandlingFailed if a valid one fails."""
        child.heard()
        handle = self._parse(child, message)
        try:
            handle()
        except Exception as error:
            raise HandlingFailed(f"a message of a pool process could not be handled: {error!r}") from error

    def _parse(self, child: ChildHandle, message: Message) -> Callable[[], None]:
        """Return how to handle it. It is validated here as a whole: a task may have written anything to the pipe."""
        kind, *rest = message
        program = child.program
        handle: Callable[[], None] = _pass
        if kind == "results" and program is not None:
            handle = self._parse_results(child, program, *rest)
        elif kind == "returned":
            handle = partial(self._take_back, child, [int(index) for index in rest[0]])
        elif kind == "ready" and program is not None:
            handle = partial(self._begin, child, program, int(rest[0]), int(rest[1]), bool(rest[2]))
        elif kind in ("refused", "broke"):
            handle = self._parse_failure(child, kind, *rest)
        else:
            handle = self._parse_note(child, kind, *rest)
        return handle

    def _parse_failure(
        self, child: ChildHandle, kind: str, error: str, text: str, in_hand: Sequence[int] = ()
    ) -> Callable[[], None]:
        if kind == "broke":
            return partial(self._take_exception, child, str(error), str(text), [int(index) for index in in_hand])
        if error == TaskChanged.__name__:
            return partial(self._give_up, child)
        return partial(self.refuse, child, Verdict(str(error), str(text)))

    def _parse_note(self, child: ChildHandle, kind: str, content: Any = None) -> Callable[[], None]:
        handle: Callable[[], None] = _pass
        if kind == "hello" and child.state is State.STARTING:
            handle = child.started
        elif kind == "parked":
            handle = partial(child.note_parked, int(content))
        elif kind == "waits":
            handle = partial(child.note_waiting, int(content))
        elif kind == "delayed":
            handle = partial(self._note_delay, child, str(content))
        elif kind == "lacks":
            handle = partial(child.note_missing, str(content))
        elif kind == "choices":
            handle = partial(child.note_choices, [(str(name), str(value), str(why)) for name, value, why in content])
        return handle

    def _note_delay(self, child: ChildHandle, why: str) -> None:
        if child.program is not None and child.program.run not in self._delayed:
            run = child.program.run
            self._delayed.add(run)
            logger.warning("cannot import a task now; retrying", extra={"action": "import", "run": run, "why": why})

    def _begin(self, child: ChildHandle, program: TaskRun, window: int, at_once: int, stateful: bool) -> None:
        self._failed_imports.pop(program.run, None)
        self._delayed.discard(program.run)
        if child.state is State.PREPARING:
            child.ready(window, at_once, stateful, self._item_s.get(program.run))

    def died_preparing(self, child: ChildHandle, cause: str) -> None:
        """A child died before its task was imported; after a few consecutive deaths the run is refused."""
        # In a process that had done items before, one of them may be the cause.
        if child.program is not None and child.done == 0 and child.forgotten_at is None:
            self._failed_imports[child.program.run] += 1
            if self._failed_imports[child.program.run] >= _FAILED_STARTS_LIMIT:
                self.refuse(child, Verdict("TaskError", f"{child.program.spec.task!r} cannot be imported: {cause}"))

    def _give_up(self, child: ChildHandle) -> None:
        """The task has changed. No item fails for that: the worker releases the run's batches."""
        if child.program is not None:
            self._backlog.drop(child.program.run)
            self.changed.put(child.program.run)
            child.unassign()

    def refuse(self, child: ChildHandle, verdict: Verdict) -> None:
        """The child's run cannot be served: all its items fail, including those added within the next minute."""
        program = child.program
        if program is None:
            return
        now = time.monotonic()
        self._refused = {run: entry for run, entry in self._refused.items() if entry[0] > now}
        self._refused[program.run] = (now + _REFUSED_S, verdict)
        self._failed_imports.pop(program.run, None)
        self._delayed.discard(program.run)
        lost = [*child.unassign(), *(item.index for item in self._backlog.drop(program.run))]
        self.fail(program.run, lost, verdict)
        self.quarantine.forget(program.run)

    def _parse_results(
        self,
        child: ChildHandle,
        program: TaskRun,
        packed: tuple[int, ...],
        packed_lengths: bytes,
        records: bytes | int,
        failures: Sequence[tuple[int, str, str, int]],
        busy_s: float,
    ) -> Callable[[], None]:
        """There is no Python loop over items, unless some failed."""
        spans, lengths = unpack_spans(packed), array("Q", packed_lengths).tolist()
        if sum(map(len, spans)) != len(lengths):
            raise ValueError(f"{len(lengths)} records for {sum(map(len, spans))} items")
        size = sum(lengths)
        if not isinstance(records, bytes):
            child.ring.check(records, size)
        elif len(records) != size:
            raise ValueError(f"{len(records)} bytes of records that should have {size}")
        failed = [Failed(int(index), str(error), str(text), int(tries)) for index, error, text, tries in failures]
        return partial(self._take_results, child, program, spans, lengths, records, failed, float(busy_s))

    def _take_results(
        self,
        child: ChildHandle,
        program: TaskRun,
        spans: list[Sequence[int]],
        lengths: list[int],
        records: bytes | int,
        failed: list[Failed],
        busy_s: float,
    ) -> None:
        results: list[Result | Bundle] = [*failed, *_bundles(child, spans, lengths, records)]
        finished = [*spans, [failure.index for failure in failed]]
        wanted = child.forgotten_at is None
        unknown = set().union(*map(child.take, finished))
        if unknown:
            results = [result for result in single_results(results) if result.index not in unknown]
        count = sum(map(len, finished)) - len(unknown)
        if count:
            # First of all: these items were just taken from the child, so their results must not be lost.
            if wanted:
                self.add(program.run, results)
                for indexes in finished:
                    self.quarantine.finished(program.run, indexes)
            self._learn(program, child.finished(count, busy_s))

    def _learn(self, program: TaskRun, item_s: float) -> None:
        self._item_s.pop(program.run, None)
        # The most recent run comes last.
        self._item_s[program.run] = item_s
        if len(self._item_s) > _KNOWN_RUNS:
            del self._item_s[next(iter(self._item_s))]

    def _take_back(self, child: ChildHandle, indexes: Sequence[int]) -> None:
        """The items that it had not begun go back to the front of the backlog, unless its run is forgotten."""
        child.recall_answered(indexes)
        if child.program is not None:
            items = [Item(index, child.outstanding[index]) for index in indexes if index in child.outstanding]
            if child.forgotten_at is None and child.alone:
                self._backlog.suspects.extendleft(Suspect(child.program, item) for item in items)
            elif child.forgotten_at is None:
                self._backlog.add(child.program, ItemBlock.of(items), front=True)
            child.take(indexes)

    def _take_exception(self, child: ChildHandle, error: str, message: str, in_hand: Sequence[int]) -> None:
        """An exception escaped the task: for the items this is as if the process had died, but the child goes on."""
        verdict = Verdict(error, message)
        if child.forgotten_at is not None:
            child.take(in_hand)
            return
        self.quarantine.charge(child, in_hand, verdict)
        if child.exception_escaped(in_hand) >= _FAILED_STARTS_LIMIT:
            self.refuse(child, verdict)
            # It would go on retrying the task.
            child.kill("refused")


def _pass() -> None:
    """There is nothing to do."""


def _bundles(
    child: ChildHandle, spans: Sequence[Sequence[int]], lengths: list[int], records: bytes | int
) -> Iterator[Bundle]:
    """A bundle for each span. Those in shared memory have one `Borrow` together."""
    if isinstance(records, bytes):
        child.ring.sweep()
        view, borrow = memoryview(records), None
    else:
        view, borrow = child.ring.borrow(records, sum(lengths))
    if len(spans) == 1:
        yield Bundle(spans[0], lengths, view, borrow)
        return
    first = start = 0
    for indexes in spans:
        own = lengths[first : first + len(indexes)]
        end = start + sum(own)
        yield Bundle(indexes, own, view[start:end], borrow)
        first, start = first + len(indexes), end
