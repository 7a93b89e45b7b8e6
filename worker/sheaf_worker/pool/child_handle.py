"""One child as its worker sees it: its state, the items it has in hand, its place in the pool.

Its states are those of child_state.py. While it is READY, recall() withholds further items until one is finished, and
forget_run() has the results of its present run discarded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sheaf.run.number_range import Numbers
from sheaf.tasks.function.allowlist import is_registered
from sheaf_worker.pool.backlog import ItemBlock
from sheaf_worker.pool.child_process import ChildProcess
from sheaf_worker.pool.child_state import TRANSITIONS, State
from sheaf_worker.pool.outstanding import Outstanding
from sheaf_worker.pool.prefetch import Prefetch
from sheaf_worker.wire.channel import TaskRun, encode, encode_program, pack_indexes

#: A child has no more bytes in hand than this, unless a single item has.
MOST_BYTES = 1 << 20
#: The number of a child without a place in the pool.
NOWHERE = -1

#: A user's module, and the digests of the files of its version.
ModuleVersion = tuple[str, Mapping[str, str]]


class ChildHandle:
    """Its attributes may be read from anywhere; only its own methods change them."""

    def __init__(self, number: int, process: ChildProcess) -> None:
        #: Its place in the pool.
        self.number = number
        self._process = process
        self.pid, self.sentinel = process.pid, process.sentinel
        self.channel, self.stdout = process.channel, process.stdout
        self.slots, self.ring = process.slots, process.ring

        self.state = State.STARTING
        #: When it entered that state, and when its last message came.
        self.state_since = self.heard_at = time.monotonic()
        #: Consecutive exceptions that escaped the task with no item in hand.
        self.failed_starts = 0
        #: What the system refused it at its start; empty if nothing.
        self.missing = ""
        #: Why and when the worker killed it; None if it did not.
        self.killed: str | None = None
        self.killed_at = 0.0
        #: When its end of the pipe was found closed; None: it is open.
        self.pipe_closed_at: float | None = None

        self.program: TaskRun | None = None
        #: The user's module that it has imported; None: none yet.
        self.module: ModuleVersion | None = None
        #: The task that keeps something open in it (a model, a connection); None if none does.
        self.stateful_task: str | None = None
        #: When its run was forgotten while it had items of it or prepared for it; None: its results are wanted.
        self.forgotten_at: float | None = None
        #: Items that its task works on at a time.
        self.at_once = 1
        #: What its task has chosen by itself: name, value, reason.
        self.task_choices: list[tuple[str, str, str]] = []

        self.outstanding = Outstanding()
        #: Results since its start.
        self.done = 0
        self.prefetch = Prefetch()
        #: Items that its task has parked while it works on others.
        self.parked = 0
        #: Threads of its task that wait for the cluster.
        self.waiting_threads = 0
        #: When it was asked to return what it has not begun; None: it has answered.
        self.recalled_at: float | None = None
        #: It is sent nothing until it has finished another item.
        self.on_hold = False
        #: Consecutive recalls that returned nothing although items were outstanding and none of them begun.
        self.empty_recalls = 0

        #: It is replaced as soon as it has nothing in hand.
        self.retiring = False
        #: It gets suspects only, one at a time.
        self.for_suspects = False
        #: It has a suspect, and nothing else.
        self.alone = False

    # --- what it can be given ------------------------------------------------------------------------------------

    @property
    def run(self) -> str | None:
        return self.program.run if self.program else None

    @property
    def free(self) -> bool:
        """Whether it could begin something else."""
        return self.state in (State.IDLE, State.READY) and not self.outstanding and not self.retiring

    @property
    def spare(self) -> bool:
        """Whether it could begin another item of its run, or of any run if it has none in hand."""
        return self.free or (
            self.state is State.READY
            and not self.retiring
            and not self.on_hold
            and len(self.outstanding) < self.at_once
        )

    def room(self, most: int) -> int:
        """How many items it should be sent now; `most`: as in `Prefetch.missing`."""
        outstanding = self.outstanding
        if self.state is not State.READY or outstanding.weight >= MOST_BYTES or self.forgotten_at is not None:
            return 0
        present = len(outstanding)
        return 0 if self.on_hold and present else self.prefetch.missing(most, present - self.parked)

    @property
    def room_bytes(self) -> int:
        return MOST_BYTES - self.outstanding.weight

    @property
    def unstarted(self) -> int:
        """How many of its items it has not begun."""
        return len(self.outstanding) - len(self.slots.in_hand())

    def suits(self, program: TaskRun) -> bool:
        """Whether it may serve this run: its process has not been changed by another module or another task's setup."""
        if self.module is None:
            return True
        return self.module == module_of(program) and self.stateful_task in (None, program.spec.task)

    # --- its state -----------------------------------------------------------------------------------------------

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a child that is {self.state.value} cannot become {state.value}")
        self.state, self.state_since = state, time.monotonic()

    def started(self) -> None:
        """Its first message is here."""
        self._enter(State.IDLE)

    def serve(self, program: TaskRun) -> None:
        """Have it serve this run. Only while it has no items."""
        self._enter(State.PREPARING)
        self.program = program
        self.module = module_of(program) or self.module
        self.waiting_threads = self.parked = 0
        self.forgotten_at = None
        self.at_once = 1
        self.channel.send(encode_program(program))

    def ready(self, window: int, at_once: int, stateful: bool, item_s: float | None) -> None:
        """Its task is imported. `window`, `item_s`: as in `Prefetch`."""
        self._enter(State.READY)
        if stateful and self.program is not None:
            self.stateful_task = self.program.spec.task
        self.forgotten_at = None
        self.at_once = at_once
        self.prefetch = Prefetch(window, item_s)

    def unassign(self) -> list[int]:
        """Its run cannot be served: take the run and its items away; return their indexes."""
        lost = list(self.outstanding)
        self.take(lost)
        self.program = None
        if self.state in (State.PREPARING, State.READY):
            self._enter(State.IDLE)
        return lost

    def end(self) -> None:
        """Ask it to exit."""
        if self.state is not State.ENDING:
            self._enter(State.ENDING)
            self.channel.send(encode(("end",)))

    def kill(self, why: str) -> None:
        """Kill it and what it has started. For any thread."""
        if self.killed is None:
            self.killed, self.killed_at = why, time.monotonic()
        self._process.kill()

    def bury(self) -> int | None:
        """After its end: kill what it left running and release everything; return its exit code."""
        self._enter(State.GONE)
        return self._process.reap()

    # --- its items -----------------------------------------------------------------------------------------------

    def give(self, block: ItemBlock) -> None:
        if not self.outstanding:
            self.heard_at = time.monotonic()
        self.outstanding.add(block)
        texts = block.texts
        if isinstance(texts, Numbers):
            numbers = (texts.range.start, texts.range.stop, texts.range.step)
            self.channel.send(encode(("numbers", pack_indexes(block.indexes), numbers)))
        else:
            self.channel.send(encode(("items", pack_indexes(block.indexes), tuple(texts))))

    def give_alone(self, block: ItemBlock) -> None:
        """Give it a suspect, and have it not wait for further items to work on at the same time."""
        self.give(block)
        self.alone = True
        self.channel.send(encode(("alone",)))

    def take(self, indexes: Sequence[int]) -> set[int]:
        """Take these items from it. Returns the indexes that it did not have."""
        unknown = self.outstanding.take(indexes)
        if not self.outstanding:
            self.alone = False
            # Nothing is left of a forgotten run: it can serve others.
            self.forgotten_at = None
        return unknown

    def finished(self, count: int, busy_s: float) -> float:
        """Results of this many items have come, which took `busy_s`; return the seconds that an item takes."""
        self.done += count
        self.waiting_threads = 0
        self.on_hold = False
        self.failed_starts = self.empty_recalls = 0
        return self.prefetch.learn(count, busy_s)

    def exception_escaped(self, in_hand: Sequence[int]) -> int:
        """An exception escaped its task with these items in hand, which are taken from it; 0, if there are any.

        Otherwise returns how many consecutive exceptions came with none.
        """
        if in_hand:
            self.take(in_hand)
            self.on_hold = False
            return 0
        self.failed_starts += 1
        return self.failed_starts

    def recall(self) -> None:
        """Ask for the items that it has not begun. It answers even in mid-item, unless native code blocks it."""
        self.recalled_at, self.on_hold = time.monotonic(), True
        self.channel.send(encode(("recall",)))

    def recall_answered(self, indexes: Sequence[int]) -> None:
        """It returns these items, which stay outstanding until they are taken from it."""
        self.recalled_at = None
        # Its last results may have come just before this answer.
        empty = self.outstanding and not indexes and not self.slots.in_hand()
        self.empty_recalls = self.empty_recalls + 1 if empty else 0

    def forget_run(self) -> None:
        """The results of its run are no longer wanted: it should be free soon."""
        if self.forgotten_at is None and (self.outstanding or self.state is State.PREPARING):
            self.forgotten_at = time.monotonic()
            if len(self.outstanding) > 1:
                self.recall()

    # --- what it reports about itself ----------------------------------------------------------------------------

    def heard(self) -> None:
        self.heard_at = time.monotonic()

    def note_parked(self, items: int) -> None:
        self.parked = items

    def note_waiting(self, threads: int) -> None:
        self.waiting_threads = threads

    def note_missing(self, what: str) -> None:
        self.missing = what

    def note_choices(self, choices: list[tuple[str, str, str]]) -> None:
        self.task_choices = choices

    def pipe_closed(self) -> None:
        """Nothing can be read from it any more. Most likely the process has ended, and the pool will notice."""
        self.pipe_closed_at = time.monotonic()

    # --- its place in the pool -----------------------------------------------------------------------------------

    def take_place(self, number: int, *, for_suspects: bool = False) -> None:
        self.number, self.for_suspects = number, for_suspects

    def leave_place(self) -> None:
        self.number, self.for_suspects = NOWHERE, False

    def reserve_for_suspects(self) -> None:
        """Give it suspects only; other children do the items that it has not begun."""
        self.for_suspects = True
        if self.outstanding:
            self.recall()

    def unreserve(self) -> None:
        """Give it any items again, once it has finished its present suspect."""
        self.for_suspects = self.alone

    def retire(self) -> None:
        """Have it replaced as soon as it has nothing in hand."""
        self.retiring = True

    def own_bytes(self) -> int:
        return self._process.private_bytes()

    def starved_s(self) -> float:
        return self._process.starved_s()


def module_of(program: TaskRun) -> ModuleVersion | None:
    """The user's module that the task is in; None for Sheaf's own tasks and for allowlisted library functions."""
    module, colon, _ = program.spec.task.partition(":")
    return (module, program.spec.files) if colon and not is_registered(module, ()) else None
