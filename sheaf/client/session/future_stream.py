"""Single calls, each with its future: the stream behind `submit`. Calls that come close together travel together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sheaf.client.session.results import Chunk, Segment
from sheaf.client.session.sizing import LARGEST_BYTES, ChunkSizer
from sheaf.client.session.stream import CallTarget, failures_of
from sheaf.core.errors import TaskFailed
from sheaf.core.humanize import count_text
from sheaf.core.waits import waiting

#: What a failed call's future raises.
Translate = Callable[[TaskFailed], BaseException]


class CallFuture(Future[Any]):
    """The future of a call. A task of the cluster that waits for it lends its place meanwhile."""

    def result(self, timeout: float | None = None) -> Any:
        with waiting:
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        with waiting:
            return super().exception(timeout)


class FutureStream:
    """`add` and `cancel_all` are for any thread, `take` for the one that sends, `receive` for the one that receives."""

    def __init__(self, target: CallTarget, wake: Callable[[], None]) -> None:
        self.target = target
        self.sizer = ChunkSizer(target.concurrency)
        self.sent = 0
        self.held = 0
        self._wake = wake
        self._pending: deque[tuple[str, Future[Any], Translate]] = deque()
        #: The futures of what was taken and has no result yet, by their place.
        self._futures: dict[int, tuple[Future[Any], Translate]] = {}

    @property
    def waiting(self) -> int:
        return len(self._pending)

    def add(self, line: str, future: Future[Any], translate: Translate) -> None:
        if not self._pending and not self._futures:
            # Nothing is before it, so it is sent off at once: too late to cancel it.
            future.set_running_or_notify_cancel()
        self._pending.append((line, future, translate))
        self._wake()

    def take(self) -> list[str]:
        lines: list[str] = []
        size = 0
        while self._pending and len(lines) < self.sizer.size and size < LARGEST_BYTES:
            line, future, translate = self._pending.popleft()
            if future.running() or future.set_running_or_notify_cancel():
                self._futures[self.sent + len(lines)] = (future, translate)
                lines.append(line)
                size += len(line)
        return lines

    def receive(self, segment: Segment, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            for index, failed in failures_of(segment, chunk.failures):
                future, translate = self._futures.pop(segment.first + index)
                future.set_exception(translate(failed))
            for index, value in chunk.values():
                self._futures.pop(segment.first + index)[0].set_result(value)

    def fail(self, error: Exception, first: int) -> None:
        for place in [place for place in self._futures if place >= first]:
            self._futures.pop(place)[0].set_exception(error)

    def loose_ends(self) -> str | None:
        left = len(self._futures) + sum(not future.cancelled() for _, future, _ in list(self._pending))
        if not left:
            return None
        return (
            f"{count_text(left, 'call')} of {self.target.spec.task} had no result yet and came to nothing, since the "
            "cluster object was closed; ask for result() before the end of `with`"
        )

    def end(self, error: Exception) -> None:
        self.fail(error, 0)
        while self._pending:
            _, future, _ = self._pending.popleft()
            if future.running() or future.set_running_or_notify_cancel():
                future.set_exception(error)
