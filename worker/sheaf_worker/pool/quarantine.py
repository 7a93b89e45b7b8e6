"""Decides about the items of a dead child: they are put back, tried alone, or fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sheaf.run.items import TIMEOUT, Failed, Item
from sheaf_worker.pool.attempts import Attempts, Bisection
from sheaf_worker.pool.backlog import Backlog, ItemBlock, Suspect
from sheaf_worker.pool.child_handle import ChildHandle
from sheaf_worker.wire.channel import TaskRun
from sheaf_worker.wire.exit_codes import FILES_USED_UP, PIPE_LOST, PIPE_LOST_TEXT, UNRESPONSIVE_TEXT, explain_exit

#: Reasons to kill a child that are not its items' fault.
TIMED_OUT, UNRESPONSIVE, BROKEN_PIPE, FORGOTTEN = "timed out", "unresponsive", "broken pipe", "its run is forgotten"
#: Reasons that are: one of the items in hand fills its memory.
TOO_LARGE, OVER_TASK_LIMIT = "too large", "over its task's limit"
#: ... or its task waits for the cluster, as do all others.
NESTED = "waits for others that wait"
_NESTED_TEXT = (
    "process was killed: the task waited for the cluster (for calls of its own, a shared queue or a lock), and so did "
    "all other processes of its worker, for a minute: its calls are nested too deep, or more tasks wait than there are "
    "processes; call the function directly, or start more workers"
)
_TOO_LARGE_TEXT = "process was killed: it took more than twice the memory that SHEAF_CHILD_MEMORY_MB allows"
#: The error of an item whose process died.
DIED = "ProcessDied"


class Verdict(NamedTuple):
    """How an item is reported if it has no attempt left."""

    error: str
    message: str


class Quarantine:
    """Charges the item that was in hand when a process died. If there were several, each is tried alone.

    A process that dies with nothing in hand may have been damaged by any item that it had finished (its pipe closed, a
    thread left behind that kills it): then children get fewer and fewer of the run's items, until only one can be the
    cause.
    """

    def __init__(self, backlog: Backlog, report: Callable[[str, Iterable[Failed]], None]) -> None:
        self._backlog = backlog
        self._report = report
        self.attempts = Attempts()
        self.bisection = Bisection()

    def after_death(self, child: ChildHandle, exit_code: int | None, in_hand: dict[int, float]) -> None:
        """Decide about a dead child's items. `in_hand`: the outstanding ones it had begun, and when."""
        program = child.program
        if program is None or child.forgotten_at is not None:
            return
        if child.killed == TIMED_OUT:
            late = self._late(child, program, in_hand)
            self._put_back(child, program, except_for=late)
            if sum(begun <= child.killed_at for begun in in_hand.values()) > 1:
                # A single item that blocks the process makes all items beside it late.
                items = [Item(index, child.outstanding[index]) for index in late]
                self._backlog.suspects.extend(Suspect(program, item) for item in items)
            else:
                self._time_out(program, late)
        elif exit_code == FILES_USED_UP and child.done:
            # Earlier items have left files open; a fresh process has room for these.
            self._put_back(child, program, except_for=())
        elif child.outstanding:
            self._find_cause(child, program, exit_code, list(in_hand))

    def _find_cause(self, child: ChildHandle, program: TaskRun, exit_code: int | None, in_hand: list[int]) -> None:
        known = {
            BROKEN_PIPE: PIPE_LOST_TEXT,
            UNRESPONSIVE: UNRESPONSIVE_TEXT,
            TOO_LARGE: _TOO_LARGE_TEXT,
            NESTED: _NESTED_TEXT,
            OVER_TASK_LIMIT: f"process was killed: it took more than the {program.spec.memory_mb} MiB of memory_mb",
        }
        verdict = Verdict(DIED, known.get(child.killed or "") or explain_exit(exit_code))
        if in_hand and child.killed != BROKEN_PIPE and exit_code != PIPE_LOST:
            self.charge(child, in_hand, verdict)
            self._put_back(child, program, except_for=in_hand)
            return
        # Any of them may be the cause, as some may be finished and not reported.
        suspects = in_hand or (list(child.outstanding) if len(child.outstanding) == 1 else [])
        self.charge(child, suspects, verdict, certain=child.done == 0 and len(child.outstanding) == 1)
        if len(child.outstanding) > len(suspects):
            self.bisection.narrow(program.run, len(child.outstanding))
            self._put_back(child, program, except_for=suspects)

    def forget(self, run: str) -> None:
        self.attempts.forget(run)
        self.bisection.forget(run)

    def finished(self, run: str, indexes: Sequence[int]) -> None:
        """These items have their results."""
        self.attempts.forget_all(run, indexes)
        self.bisection.finished(run, len(indexes))

    def charge(self, child: ChildHandle, indexes: Iterable[int], verdict: Verdict, *, certain: bool = True) -> None:
        """These items were in hand when it happened: a single one is charged, several are tried alone.

        Not `certain`: the cause may be an item that the process had finished before.
        """
        program = child.program
        if program is None:
            return
        items = [Item(index, child.outstanding[index]) for index in indexes if index in child.outstanding]
        if len(items) == 1:
            self._charge_attempt(program, items[0], verdict, certain=certain)
        else:
            self._backlog.suspects.extend(Suspect(program, item) for item in items)

    def _charge_attempt(self, program: TaskRun, item: Item, verdict: Verdict, *, certain: bool) -> None:
        if not certain and self.attempts.count(program.run, item.index) + 1 >= program.spec.attempts:
            self._backlog.suspects.append(Suspect(program, item, fresh=True))
            return
        count = self.attempts.charge(program.run, item.index)
        if count < program.spec.attempts:
            # An exception is due to the item; a death may be due to what the process did before.
            fresh = verdict.error == DIED and count + 1 >= program.spec.attempts
            self._backlog.suspects.append(Suspect(program, item, fresh))
            return
        self.attempts.forget_item(program.run, item.index)
        tries = f"; tried {count} times, alone" if count > 1 else ""
        self._report(program.run, [Failed(item.index, verdict.error, verdict.message + tries, count)])

    def _late(self, child: ChildHandle, program: TaskRun, in_hand: dict[int, float]) -> list[int]:
        """The items that were out of time when the child was killed; it may have finished others just before."""
        limit_s = program.spec.item_timeout_s or 0.0
        return [index for index, begun in in_hand.items() if child.killed_at - begun >= limit_s]

    def _time_out(self, program: TaskRun, indexes: Iterable[int]) -> None:
        message = f"not finished within {program.spec.item_timeout_s:g} s; its process was killed"
        failed = []
        for index in indexes:
            failed.append(Failed(index, TIMEOUT, message, self.attempts.charge(program.run, index)))
            self.attempts.forget_item(program.run, index)
        self._report(program.run, failed)

    def _put_back(self, child: ChildHandle, program: TaskRun, except_for: Iterable[int]) -> None:
        excluded = set(except_for)
        items = [Item(index, text) for index, text in child.outstanding.items() if index not in excluded]
        if child.alone:
            self._backlog.suspects.extendleft(Suspect(program, item) for item in items)
        else:
            self._backlog.add(program, ItemBlock.of(items), front=True)
