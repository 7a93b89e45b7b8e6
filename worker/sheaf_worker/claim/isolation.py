"""Batches whose workers died with them again and again: done part by part, with nothing beside, to find the item.

    claimed for the third time ─► wait until all else is done ─► note a part in Redis, do it, note the next …
                                                                      ✗ the worker dies
    next claim: that part, in smaller parts ◄─────────────────────────┘
                one item, and that alone, again and again ─► it fails: ProcessDied

Most workers that die are killed by a person, or by a machine that is full. Then no part is at fault, and what is done
in parts is committed as any other: it costs time, and no item its result (docs/decisions/0026).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sheaf.broker.suspects import Note, Notes
from sheaf.core.errors import RedisFull
from sheaf.run.items import Failed
from sheaf_worker.claim.in_flight import InFlight, InFlightBatch
from sheaf_worker.pool.backlog import ItemBlock
from sheaf_worker.pool.quarantine import DIED

logger = logging.getLogger(__name__)

#: Claims that may have come to nothing before a batch is done part by part.
CLAIMS = 2
#: Parts that a batch, or the part that was in hand, is divided into.
PARTS = 8
#: So often a worker has to die with one item, and that alone in hand, before the item fails; or as often as the item
#: may be tried, if that is more.
DEATHS = 3
#: Of deaths with other items in hand beside it, so many count as one.
_BESIDE = 3
#: Seconds that a part waits until nothing else is in hand, and for which nothing else is begun beside it.
QUIET_S, ALONE_S = 10.0, 30.0


@dataclass(slots=True)
class _Batch:
    held: InFlightBatch
    claims: int
    #: What is to be done, one after another; with each part its note.
    parts: deque[tuple[ItemBlock, Note]]
    #: The note of the part that was given to the pool.
    note: Note | None = None
    since: float = field(default_factory=time.monotonic)


class Isolation:
    """For the fetcher's thread. `idle` says whether the pool is empty."""

    def __init__(
        self,
        notes: Notes,
        in_flight: InFlight,
        give: Callable[[InFlightBatch, ItemBlock], None],
        fail: Callable[[str, Failed], None],
        idle: Callable[[], bool],
    ) -> None:
        self._notes = notes
        self._in_flight = in_flight
        self._give, self._fail, self._idle = give, fail, idle
        self._batches: deque[_Batch] = deque()

    def note_of(self, batch: str) -> Note | None:
        """What was in hand of it when its worker died, if known."""
        return self._notes.read(batch)

    def add(self, held: InFlightBatch, block: ItemBlock, claims: int, note: Note | None) -> None:
        """Take over a batch that is in flight after this many claims, with its open items."""
        logger.warning(
            "workers died with this batch in hand; processing it part by part",
            extra={"action": "isolate", "batch": held.batch.id, "claims": claims},
        )
        parts, failed = _plan(block, note, claims, max(DEATHS, held.run.manifest.spec.attempts))
        self._batches.append(_Batch(held, claims, deque(parts)))
        if failed is not None:
            count = failed.deaths + failed.deaths_beside
            beside = "" if failed.deaths_beside else ", with nothing else in hand"
            message = (
                f"the worker that did this item died with it, {count} times{beside}: "
                "the item ends it, or memory runs out and the kernel takes the worker"
            )
            self._fail(held.batch.run, Failed(failed.first, DIED, message, count))

    def advance(self) -> bool:
        """Do what can be done now; return whether nothing else should be claimed meanwhile."""
        if not self._batches:
            return False
        batch = self._batches[0]
        if not self._in_flight.has(batch.held.batch.id):
            # All of it is committed, or it was released.
            if not batch.held.open_items:
                self._notes.remove(batch.held.batch.id)
            self._batches.popleft()
            for following in self._batches:
                following.since = time.monotonic()
            return bool(self._batches)
        waited_s = time.monotonic() - batch.since
        if batch.note is not None and not self._done(batch, batch.note):
            if waited_s > ALONE_S and batch.note.alone:
                self._stop_isolating(batch, batch.note)
            return waited_s <= ALONE_S
        if not batch.parts:
            return False  # it only has to be committed
        if batch.note is None and waited_s < QUIET_S and not self._idle():
            return True
        self._begin_next(batch)
        return True

    def _done(self, batch: _Batch, note: Note) -> bool:
        if self._idle():
            return True
        first = batch.held.batch.first
        mask = ((1 << (note.end - note.first)) - 1) << (note.first - first)
        return not batch.held.open_items & mask

    def _begin_next(self, batch: _Batch) -> None:
        block, note = batch.parts[0]
        note = replace(note, alone=int(self._idle()))
        self._write(batch.held.batch.id, note)
        batch.parts.popleft()
        batch.note, batch.since = note, time.monotonic()
        self._give(batch.held, block)

    def _stop_isolating(self, batch: _Batch, note: Note) -> None:
        """It takes long, and other batches have waited long enough."""
        batch.note = replace(note, alone=0)
        self._write(batch.held.batch.id, batch.note)

    def _write(self, batch: str, note: Note) -> None:
        try:
            self._notes.write(batch, note)
        except RedisFull:
            # Redis has to drain, with a note or without; an old note would mislead.
            self._notes.remove(batch)


def _plan(
    block: ItemBlock, note: Note | None, claims: int, most: int
) -> tuple[list[tuple[ItemBlock, Note]], Note | None]:
    """The parts to do one after another, and the item that is to fail, if one is."""
    if note is None:
        return _parts(block, claims), None
    suspects, others = _split(block, note.first, note.end)
    if len(suspects.indexes) != 1:
        return [*_parts(suspects, claims), *_parts(others, claims)], None
    (index,) = suspects.indexes
    own = replace(note, first=index, end=index + 1, claims=claims)
    if claims > note.claims:
        own = replace(own, deaths=own.deaths + note.alone, deaths_beside=own.deaths_beside + 1 - note.alone)
    if own.deaths + own.deaths_beside // _BESIDE >= most:
        return _parts(others, claims), own
    return [(suspects, own), *_parts(others, claims)], None


def _parts(block: ItemBlock, claims: int) -> list[tuple[ItemBlock, Note]]:
    size = max(1, -(-len(block.indexes) // PARTS))
    parts = []
    while block.indexes:
        part, block = block.cut(size)
        parts.append((part, Note(part.indexes[0], part.indexes[-1] + 1, claims, 1)))
    return parts


def _split(block: ItemBlock, first: int, end: int) -> tuple[ItemBlock, ItemBlock]:
    """Those from `first` up to `end`, and the others."""
    start = sum(index < first for index in block.indexes)
    stop = sum(index < end for index in block.indexes)
    before, rest = block.cut(start)
    inner, after = rest.cut(stop - start)
    return inner, ItemBlock.of([*before.items, *after.items])
