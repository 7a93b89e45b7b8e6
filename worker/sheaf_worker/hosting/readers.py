"""Reads what hosted processes print, and notices their ends."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from sheaf.broker.program_processes import ProcessId
from sheaf_worker.hosting.hosted_process import HostedProcess, Stream

#: Bytes that one stream may bring in a second; what comes faster waits in its pipe, and its process with it.
RATE_BYTES = 8 << 20
#: Reads of a stream whose process has ended: its pipe and what else may have the other end.
_LAST_READS = 64


class Readers:
    """For one thread. `put` is called with a process, the number of a stream and what is passed on of it."""

    def __init__(self, put: Callable[[ProcessId, int, bytes], None], is_full: Callable[[str], bool]) -> None:
        self._put = put
        self._is_full = is_full
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._processes: dict[ProcessId, HostedProcess] = {}
        self._paused: set[tuple[ProcessId, Stream]] = set()
        self._second = 0.0
        #: Processes that may have ended.
        self._suspects: set[ProcessId] = set()

    def wake(self) -> None:
        """End the `wait()` that is going on, or else the next one. For any thread."""
        with suppress(BlockingIOError):
            os.write(self._waker, b"!")

    def add(self, name: ProcessId, process: HostedProcess) -> None:
        self._processes[name] = process
        for stream in process.streams:
            self._selector.register(stream.descriptor, selectors.EVENT_READ, (name, stream))
        if process.sentinel is not None:
            self._selector.register(process.sentinel, selectors.EVENT_READ, name)

    def wait(self, timeout_s: float, now: Callable[[], float]) -> bool:
        """Read until something is there, or the time is over; return whether `wake()` was called."""
        woken = False
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            if key.fd == self._wake:
                os.read(self._wake, 4096)
                woken = True
            elif isinstance(key.data, ProcessId):
                self._suspects.add(key.data)
            else:
                name, stream = key.data
                self._read(name, stream, now())
        return woken

    def pass_on_due(self, now: float) -> None:
        """Lines that have not ended for too long; and streams that had to wait are read again."""
        for name, process in self._processes.items():
            for stream in process.streams:
                if stream.lines.due is not None and stream.lines.due <= now:
                    self._put(name, stream.number, stream.lines.take_rest())
        new_second = now - self._second >= 1.0
        if new_second:
            self._second = now
        for name, stream in list(self._paused):
            if new_second:
                stream.read = 0
            if stream.read < RATE_BYTES and not self._is_full(name.program):
                self._paused.discard((name, stream))
                self._selector.register(stream.descriptor, selectors.EVENT_READ, (name, stream))

    def next_due(self) -> float | None:
        """When `pass_on_due()` has something to do; None if nothing waits."""
        due = [stream.lines.due for process in self._processes.values() for stream in process.streams]
        moments = [moment for moment in due if moment is not None]
        return min(moments) if moments else None

    @property
    def paused(self) -> bool:
        return bool(self._paused)

    def ended(self) -> Iterator[tuple[ProcessId, HostedProcess, int]]:
        """Processes that have ended, each once, with their exit codes."""
        unwatched = {name for name, process in self._processes.items() if process.sentinel is None}
        for name in sorted(self._suspects | unwatched):
            process = self._processes[name]
            exit_code = process.exit_code
            if exit_code is not None:
                self._suspects.discard(name)
                self._finish(name, process)
                yield name, process, exit_code

    def close(self) -> None:
        self._selector.close()
        for end in (self._wake, self._waker):
            os.close(end)

    def _read(self, name: ProcessId, stream: Stream, now: float) -> None:
        if self._is_full(name.program) or stream.read >= RATE_BYTES:
            self._selector.unregister(stream.descriptor)
            self._paused.add((name, stream))
            return
        text = stream.read_some()
        if text:
            self._put_all(name, stream, stream.lines.add(text, now))
        elif text is not None:
            self._selector.unregister(stream.descriptor)
            self._put(name, stream.number, stream.lines.take_all())
            stream.close()

    def _put_all(self, name: ProcessId, stream: Stream, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._put(name, stream.number, piece)

    def _finish(self, name: ProcessId, process: HostedProcess) -> None:
        """Read what is left of one that has ended. What still has its pipe open, outside its group, is cut off."""
        del self._processes[name]
        if process.sentinel is not None:
            self._selector.unregister(process.sentinel)
        process.reap()
        for stream in process.streams:
            if (name, stream) in self._paused:
                self._paused.discard((name, stream))
            elif stream.open:
                self._selector.unregister(stream.descriptor)
            reads = _LAST_READS
            while stream.open and reads and (text := stream.read_some()):
                self._put_all(name, stream, stream.lines.add(text, 0.0))
                reads -= 1
            self._put(name, stream.number, stream.lines.take_all())
        process.close()
