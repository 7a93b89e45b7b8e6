"""A stream of calls of one function: what waits to be sent off, what is out, what has come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sheaf.client.calls import decode_item
from sheaf.client.session.results import Chunk, Segment
from sheaf.client.session.sizing import ChunkSizer
from sheaf.core.errors import ClusterError, TaskFailed
from sheaf.output.index.rows import Failure
from sheaf.run.items import Batch
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks import tracebacks


@dataclass(frozen=True, slots=True, eq=False)
class CallTarget:
    """What a stream asks of the workers."""

    #: Goes into each segment's manifest.
    spec: TaskSpec
    #: Whether a line holds `[arguments, keywords]`, and not one item.
    is_call: bool
    #: Items that one process of a pool works on at once.
    concurrency: int


class Stream(Protocol):
    """What the session's threads need of a stream."""

    target: CallTarget
    sizer: ChunkSizer
    #: Items that were sent off so far: the place of the next segment's first item.
    sent: int

    @property
    def waiting(self) -> int:
        """How many items wait to be sent off."""

    @property
    def held(self) -> int:
        """How many segments have come back with results that were not read yet."""

    def take(self) -> list[str]:
        """Take the lines of the next segment; none if there is nothing to send."""

    def receive(self, segment: Segment, chunks: list[Chunk]) -> None:
        """Take over results."""

    def fail(self, error: Exception, first: int) -> None:
        """The items from this place on that were taken, but have no results, can never come back."""

    def end(self, error: Exception) -> None:
        """Nothing of it will ever come back, nor be sent off."""

    def loose_ends(self) -> str | None:
        """What a program that closes its cluster now has most likely forgotten, with the cure; None: nothing."""


def broken_by(error: BaseException) -> ClusterError:
    """What a program gets when a thread of its session has failed, for whatever reason."""
    broken = ClusterError(f"a part of this session broke ({type(error).__name__}: {error}); make another Cluster")
    broken.__cause__ = error
    return broken


def failures_of(segment: Segment, failures: list[Failure]) -> list[tuple[int, TaskFailed]]:
    """What takes the places of failed items. The items are read from the run again, so that none need be kept."""
    target = segment.stream.target
    found = []
    for failure in failures:
        (item,) = segment.run.items(Batch(segment.name, 0, failure.index, 1))
        fault = tracebacks.split(failure.message)
        failed = TaskFailed(
            task=target.spec.task,
            error=failure.error,
            message=f"{fault.summary} ({fault.place})" if fault.place else fault.summary,
            item=decode_item(item.text, is_call=target.is_call),
            attempts=failure.attempts,
            traceback=fault.traceback,
        )
        found.append((failure.index, failed))
    return found
