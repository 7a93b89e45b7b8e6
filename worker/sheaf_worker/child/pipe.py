"""The child's end of the pipe: reads the worker's messages; items reach the task through a source.

The thread that runs the task reads, and sends results (outbox.py). While an item keeps that thread busy, a helper
thread sends finished results and answers a recall, so that a slow item delays neither results nor items after it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

from sheaf.run.items import Item, Result
from sheaf.tasks.protocol import Pair, Step
from sheaf_worker.child.outbox import FLUSH_S, Outbox
from sheaf_worker.wire.channel import Message, decode, unpack_indexes
from sheaf_worker.wire.exit_codes import PIPE_LOST
from sheaf_worker.wire.slots import SlotWriter

#: Parked items are reported to the worker, which then sends others, in steps of this many.
_REPORT_EVERY = 32


class ItemSource:
    """The items of one program, as a task takes them (see `sheaf.tasks.Source`)."""

    def __init__(self, inbox: Inbox, outbox: Outbox, slots: SlotWriter, program: Message) -> None:
        #: run, task, options, output
        self.program = program
        self._inbox = inbox
        self._outbox = outbox
        self._slots = slots
        # An iterator for each message: taking the next item is one step of the interpreter in any thread. Only the
        # task's thread removes exhausted ones.
        self._blocks: deque[Iterator[Pair]] = deque()
        self._closed = False
        #: Items that the task has parked, and how many of them were reported.
        self._parked = self._reported = 0
        #: No more items come along with the last ones: take() need not wait for others.
        self._alone = False

    @property
    def closed(self) -> bool:
        return self._closed

    def take(self, wait_s: float) -> Item | None:
        if not self._slots.free:
            return None
        pair = self._next() or self._later(wait_s)
        if pair is None:
            return None
        self._slots.begin(pair[0])
        return Item(pair[0], str(pair[1]))

    def _next(self) -> Pair | None:
        while self._blocks:
            pair = next(self._blocks[0], None)
            if pair is not None:
                return pair
            self._blocks.popleft()
        return None

    def _later(self, wait_s: float) -> Pair | None:
        if self._closed:
            return None
        if wait_s > 0 and not self._alone:
            self.wait(wait_s)
        else:
            self._inbox.read()
        return self._next()

    def wait(self, wait_s: float) -> None:
        self._outbox.flush()
        started = time.monotonic()
        self._inbox.wait(wait_s, lambda: bool(self._blocks) or self._closed)
        self._outbox.waited_s += time.monotonic() - started
        self._inbox.read()

    def postpone(self, index: int, wait_s: float) -> None:
        self._slots.postpone(index, wait_s)

    def hold(self, index: int) -> None:
        if self._slots.finish(index):
            self._parked += 1
            if self._parked - self._reported >= _REPORT_EVERY:
                self._report(self._parked)

    def resume(self, index: int) -> None:
        self._parked -= 1
        # Beyond the number of slots, items are done without a start time of their own.
        if self._slots.free:
            self._slots.begin(index)

    def settle(self, results: Sequence[Result]) -> None:
        for result in results:
            self._outbox.add(result)
            if not self._slots.finish(result.index):
                self._parked -= 1
        if self._reported > self._parked:
            self._outbox.flush()
            self._report(self._parked)

    def _report(self, parked: int) -> None:
        self._reported = parked
        self._outbox.send("parked", parked)

    def do_all(self, step: Step) -> None:
        if not self._blocks:
            self._inbox.read()
        if self._blocks:
            cells = self._slots.begin_serial()
            while self._blocks:
                self._outbox.do_all(self._blocks[0], step, cells)
                self._blocks.popleft()
            self._slots.end_serial()

    def extend(self, indexes: tuple[int, ...], items: Sequence[str] | range) -> None:
        """Take over items, as texts or numbers."""
        self._alone = False
        self._blocks.append(zip(unpack_indexes(indexes), items, strict=True))

    def be_alone(self) -> None:
        self._alone = True

    def give_back(self) -> list[int]:
        """Take out the items that are not begun; return their indexes in order."""
        return [index for block in list(self._blocks) for index, _ in list(block)]

    def close(self) -> None:
        """No more items will come, and those not begun are dropped."""
        self._closed = True
        self.give_back()


class Inbox:
    """Reads the worker's messages. wait() and read() belong to the task's thread, read_for_it() to the helper."""

    def __init__(self, connection: Connection, outbox: Outbox, slots: SlotWriter) -> None:
        self._connection = connection
        self._outbox = outbox
        self._slots = slots
        self._lock = threading.Lock()
        # Two, because a poll object refuses to be used by two threads at once.
        self._waiter, self._poller = select.poll(), select.poll()
        for poller in (self._waiter, self._poller):
            poller.register(connection.fileno(), select.POLLIN)
        self._sources: deque[ItemSource | None] = deque()
        self._last: ItemSource | None = None
        #: The task's thread waits for a message, which the helper must leave to it.
        self._waiting = False
        #: Set while the task's thread is not waiting for a message.
        self.busy = threading.Event()

    def next_source(self) -> ItemSource | None:
        """Wait for the next program; None if the child should end."""
        while not self._sources:
            self.wait(60.0, lambda: bool(self._sources))
            self.read()
        return self._sources.popleft()

    def wait(self, wait_s: float, has_come: Callable[[], bool]) -> None:
        """Wait until there is something to read, unless the helper has already read what is waited for."""
        self.busy.clear()
        with self._lock:
            self._waiting = True
        if not has_come():
            self._waiter.poll(wait_s * 1000)
        self._waiting = False
        self.busy.set()

    def detach(self) -> None:
        """In a forked copy: no more messages will come, and items are the original's."""
        self._lock = threading.Lock()
        if self._last is not None:
            self._last.close()

    def read(self) -> None:
        """Handle the messages that have come."""
        with self._lock:
            self._read()

    def read_for_it(self) -> None:
        """Handle the messages that have come, unless the task's thread is about to do so."""
        with self._lock:
            if not self._waiting:
                self._read()

    def _read(self) -> None:
        while self._poller.poll(0):
            try:
                message = decode(self._connection.recv_bytes())
            except EOFError:
                os._exit(0)  # the worker is gone, and with it the reader of results
            except Exception:  # noqa: BLE001 - a task has closed the pipe, or has read from it
                os._exit(PIPE_LOST)
            self._handle(message)

    def _handle(self, message: Message) -> None:
        kind = message[0]
        if kind == "items" and self._last is not None:
            self._last.extend(message[1], message[2])
        elif kind == "numbers" and self._last is not None:
            self._last.extend(message[1], range(*message[2]))
        elif kind == "alone" and self._last is not None:
            self._last.be_alone()
        elif kind == "recall":
            self._outbox.send("returned", self._last.give_back() if self._last else [])
        elif kind in ("program", "end"):
            if self._last is not None:
                self._last.close()
            self._last = ItemSource(self, self._outbox, self._slots, message[1:]) if kind == "program" else None
            self._sources.append(self._last)


def start_helper(inbox: Inbox, outbox: Outbox) -> None:
    """Start the thread that serves the pipe while an item keeps the task's thread busy."""

    def serve_pipe() -> None:
        while True:
            inbox.busy.wait()
            time.sleep(FLUSH_S)
            outbox.flush_if_due()
            outbox.report_waits()
            inbox.read_for_it()

    threading.Thread(target=serve_pipe, name="sheaf-pipe", daemon=True).start()
