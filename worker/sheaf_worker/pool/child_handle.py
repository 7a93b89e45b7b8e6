"""The worker's view of one child: its process, its pipe, its slots, and which items it has."""

from __future__ import annotations

import contextlib
import enum
import math
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

from sheaf.core.logs import STDERR, Sink
from sheaf.run.number_range import Numbers
from sheaf.tasks.function.allowlist import is_registered
from sheaf_worker.child import main as child
from sheaf_worker.pool.backlog import ItemBlock
from sheaf_worker.pool.outstanding import Outstanding
from sheaf_worker.pool.stdout import ChildStdout
from sheaf_worker.wire.channel import Channel, TaskRun, encode, encode_program, pack_indexes
from sheaf_worker.wire.ring import Memory, RingReader
from sheaf_worker.wire.slots import SharedSlots, SlotReader, new_slots

#: A child gets so many seconds of work ahead: enough to never run dry, little enough to leave the rest to others.
AHEAD_S = 0.15
#: ... or at least this part of it, near the end of a run: 20 ms, or it would wait for the worker more than it works.
_LEAST = 8
#: Never more items than this, nor (beyond the first item) more bytes.
MOST_ITEMS = 20_000
MOST_BYTES = 1 << 20
#: After each report the number of items ahead grows at most by this factor: the first ones may have been easy.
_GROWTH = 8
#: What of a process's memory is its own (docs/decisions/0026-when-a-process-or-a-worker-dies-of-an-item.md), KiB.
_OWN_MEMORY = re.compile(rb"^(?:RssAnon|VmSwap):\s*(\d+) kB$", re.MULTILINE)
_context = multiprocessing.get_context("spawn")


#: A user's module, and the digests of the files of its version.
Home = tuple[str, Mapping[str, str]]


class State(enum.Enum):
    STARTING = "starting"  # no word from it yet
    IDLE = "idle"  # serves no run
    PREPARING = "preparing"  # imports its task
    READY = "ready"  # takes items
    ENDING = "ending"  # was told to end


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """One child, for people."""

    pid: int
    #: The run it serves.
    run: str | None
    #: Items sent to it that have no result yet.
    in_hand: int
    #: Seconds for which it has had its oldest item in hand.
    busy_s: float
    #: Memory that is its own; files that it has mapped, and what it shares with others, do not count.
    own_bytes: int
    #: Results since its start.
    done: int
    #: How many processes in this place of the pool have died before it.
    deaths: int


class ChildHandle:
    """Start a child. Only for the thread that runs the pool: the kernel ends a child with the *thread* that made it."""

    def __init__(
        self,
        number: int,
        tasks_dir: Path | None,
        ring_bytes: int,
        task_modules: Sequence[str] = (),
        prints: Sink | None = None,
    ) -> None:
        #: Which place in the pool it fills.
        self.number = number
        self.state = State.STARTING
        self.since = self.heard = time.monotonic()
        self.program: TaskRun | None = None
        self.outstanding = Outstanding()
        self.done = 0
        #: The user's module that it has imported, with its files; None: none yet.
        self.home: Home | None = None
        #: The task whose setup has opened something in it (a model, a connection); None: none has.
        self.keeps: str | None = None
        #: Threads of its task that wait for the cluster.
        self.waits = 0
        #: Its end has been dealt with.
        self.gone = False
        #: Items that its task has in progress at once.
        self.at_once = 1
        #: It gets suspects only, one at a time, with nothing beside them.
        self.solo = False
        #: It is replaced as soon as it has nothing in hand.
        self.retiring = False
        #: It has been given a suspect, and nothing else.
        self.alone = False
        #: When it was asked to give back what it has not begun; None: it has answered.
        self.recalled: float | None = None
        #: Times in a row that it had nothing to give back and nothing in hand, though it should have had something.
        self.at_a_loss = 0
        #: Items that its task has put aside: it works on others meanwhile.
        self.holding = 0
        #: It gets nothing more until an item is finished.
        self.held = False
        #: When its end of the pipe was closed; None: it is open.
        self.hung_up: float | None = None
        #: When the run that it serves was forgotten, while it had items of that or prepared for it; None: it was not.
        self.forgotten: float | None = None
        #: Why it was killed by us, and when; None: it was not.
        self.killed: str | None = None
        self.killed_at = 0.0
        #: Exceptions in a row that escaped the task with nothing in hand.
        self.barren = 0
        self._target = 1
        #: How many items it has ahead is up to us, not to its task.
        self.adaptive = True
        #: Seconds an item takes, and how many seconds' work tell so; older reports count half as much each time.
        self._speed_s = self._covered_s = 0.0
        #: What the system refused it when it was to begin; empty: nothing.
        self.lacks = ""
        #: What its task has chosen by itself: name, value, reason.
        self.told: list[tuple[str, str, str]] = []
        shared = new_slots()
        self.slots = SlotReader(shared)
        self.ring, memory = RingReader.create(ring_bytes)
        self.channel, printed = self._spawn(shared, memory, tasks_dir, task_modules)
        self.pid = self._process.pid or 0
        self.prints = ChildStdout(printed, self.pid, prints or Sink(STDERR))
        #: Becomes readable when the process has ended, whatever its own children keep open.
        self.sentinel = self._open_sentinel()

    def _spawn(
        self, shared: SharedSlots, memory: Memory, tasks_dir: Path | None, task_modules: Sequence[str]
    ) -> tuple[Channel, Connection]:
        """Start the process; return our ends of its pipes."""
        ours, theirs = _context.Pipe(duplex=True)
        heard, printed = _context.Pipe(duplex=False)
        ends = child.Ends(theirs, printed, shared, memory)
        self._process = _context.Process(
            target=child.main,
            args=(ends, tasks_dir, tuple(task_modules), os.getpid()),
            name=f"sheaf-child-{self.number}",
        )
        try:
            with _main_module_hidden():
                self._process.start()
        except BaseException:
            ours.close()
            heard.close()
            raise
        finally:
            theirs.close()
            printed.close()
            memory.close_descriptor()
        return Channel(ours), heard

    def _open_sentinel(self) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError:
            # A kernel or a sandbox without pidfd: this one is held open by what the child itself has forked, too.
            return os.dup(self._process.sentinel)

    @property
    def run(self) -> str | None:
        return self.program.run if self.program else None

    def room(self, most: int) -> int:
        """How many items it should be sent now; 0 while it has more than half of what it should have.

        `most`: what it should have at most (if that is not up to its task), but for some time's work in any case.
        """
        if self.state is not State.READY or self.outstanding.weight >= MOST_BYTES or (self.held and self.outstanding):
            return 0
        if self.forgotten is not None:
            return 0
        target = min(self._target, max(most, self._target // _LEAST, 1)) if self.adaptive else self._target
        missing = target + self.holding - len(self.outstanding)
        return missing if 2 * missing >= target else 0

    @property
    def room_bytes(self) -> int:
        return MOST_BYTES - self.outstanding.weight

    @property
    def free(self) -> bool:
        """Whether it could begin something else."""
        return self.state in (State.IDLE, State.READY) and not self.outstanding and not self.retiring

    @property
    def spare(self) -> bool:
        """Whether it could begin another item of its run, or of any run if it has none in hand."""
        return self.free or (
            self.state is State.READY and not self.retiring and not self.held and len(self.outstanding) < self.at_once
        )

    def suits(self, program: TaskRun) -> bool:
        """Whether it may serve this: nothing that another module has changed, or opened, is in its process."""
        if self.home is None:
            return True
        return self.home == home_of(program) and self.keeps in (None, program.task)

    def begin(self, program: TaskRun) -> None:
        """Have it serve another run. Only when nothing is outstanding."""
        self.program = program
        self.home = home_of(program) or self.home
        self.waits = 0
        self.forgotten = None
        self.at_once = 1
        self.holding = 0
        self._speed_s = self._covered_s = 0.0
        self.state, self.since = State.PREPARING, time.monotonic()
        self.channel.send(encode_program(program))

    def ready(self, window: int, at_once: int, keeps: bool, speed_s: float | None) -> None:
        """Its task is imported. `speed_s`: what an item of this run takes, if that is known."""
        self.state = State.READY
        if keeps and self.program is not None:
            self.keeps = self.program.task
        self.at_once = at_once
        self.adaptive = window == 0
        self._target = window or (_ideal(speed_s) if speed_s else 1)

    def give(self, block: ItemBlock) -> None:
        if not self.outstanding:
            self.heard = time.monotonic()
        self.outstanding.add(block)
        texts = block.texts
        if isinstance(texts, Numbers):
            numbers = (texts.range.start, texts.range.stop, texts.range.step)
            self.channel.send(encode(("numbers", pack_indexes(block.indexes), numbers)))
        else:
            self.channel.send(encode(("items", pack_indexes(block.indexes), tuple(texts))))

    def give_alone(self, block: ItemBlock) -> None:
        """Give it a suspect, and tell it that it need not wait for others to go with it."""
        self.give(block)
        self.alone = True
        self.channel.send(encode(("alone",)))

    def take(self, indexes: Sequence[int]) -> set[int]:
        """These are no longer with it. Returns those that it did not have."""
        unknown = self.outstanding.take(indexes)
        if not self.outstanding:
            self.alone = False
        return unknown

    def learn(self, count: int, busy_s: float) -> float:
        """Adapt the number of items ahead to what the last ones took; return the seconds that one took.

        A report counts by the time it covers: one that was sent off just before an item's end makes the next look fast.
        """
        self._covered_s = self._covered_s / 2 + busy_s
        self._speed_s += (busy_s / count - self._speed_s) * (busy_s / self._covered_s if self._covered_s else 1)
        if self.adaptive:
            self._target = min(_ideal(self._speed_s), self._target * _GROWTH)
        return self._speed_s

    def choices(self) -> list[tuple[str, str, str]]:
        """How many items it is sent ahead and why, and what its task has told."""
        if self.program is None or self.state is not State.READY:
            return []
        if self.adaptive:
            why = (
                f"{AHEAD_S:g} s of work at {self._speed_s * 1e6:,.0f} µs an item" if self._speed_s else "to begin with"
            )
        else:
            why = f"as the task {self.program.task} wants it"
        return [("items ahead of a process", f"{self._target:,}", why), *self.told]

    def recall(self) -> None:
        """Ask for what it has not begun. It answers at once, even in mid-item, unless native code holds it up."""
        self.recalled, self.held = time.monotonic(), True
        self.channel.send(encode(("recall",)))

    def forget(self) -> None:
        """The run that it serves is forgotten: nothing that it has of it is wanted, and it should soon be free."""
        if self.forgotten is None and (self.outstanding or self.state is State.PREPARING):
            self.forgotten = time.monotonic()
            if len(self.outstanding) > 1:
                self.recall()

    def end(self) -> None:
        """Ask it to exit."""
        self.state, self.since = State.ENDING, time.monotonic()
        self.channel.send(encode(("end",)))

    def kill(self, why: str) -> None:
        """Kill it, and what it has started. Its end is then noticed as any other's."""
        if self.killed is None:
            self.killed, self.killed_at = why, time.monotonic()
        # Until it is reaped the id is its own, so this cannot meet a stranger.
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self.pid, signal.SIGKILL)

    def bury(self) -> int | None:
        """After its end: kill what it has left running, free everything; return its exit code."""
        self.gone = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join()
        exit_code = self._process.exitcode
        self._process.close()
        os.close(self.sentinel)
        self.channel.close()
        self.prints.close()
        return exit_code

    def status(self, now: float, deaths: int) -> ChildStatus:
        in_hand = self.slots.in_hand()
        return ChildStatus(
            pid=self.pid,
            run=self.run,
            in_hand=len(self.outstanding),
            busy_s=max(0.0, now - min(in_hand.values(), default=now)),  # one may only wait for its next try
            own_bytes=self.own_bytes(),
            done=self.done,
            deaths=deaths,
        )

    def own_bytes(self) -> int:
        """Bytes of memory that is its own, in memory or swapped out. Pages of mapped files do not count: they are given
        back when memory is needed. Nor does what it shares, such as the ring.
        """
        try:
            return sum(map(int, _OWN_MEMORY.findall(Path(f"/proc/{self.pid}/status").read_bytes()))) << 10
        except OSError:
            return 0  # it has just ended

    def starved_s(self) -> float:
        """Seconds for which it could have run and no processor was free, as far as the kernel tells."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0


def home_of(program: TaskRun) -> Home | None:
    """The user's module that the task lies in; None for what is our own, and for harmless library functions."""
    module, colon, _ = program.task.partition(":")
    return (module, program.files) if colon and not is_registered(module, ()) else None


def _ideal(speed_s: float) -> int:
    return max(1, min(MOST_ITEMS, math.floor(AHEAD_S / speed_s))) if speed_s > 0 else MOST_ITEMS


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep `multiprocessing` from importing the worker's main script, and with it Redis and RQ, into the child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
