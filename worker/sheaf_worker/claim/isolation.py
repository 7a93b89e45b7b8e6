"""Batches whose workers died repeatedly: processed part by part, with nothing else in hand, to find the fatal item.

    claimed for the third time ─► wait until all else is done ─► note a part in Redis, do it, note the next …
                                                                      ✗ the worker dies
    next claim: that part, in smaller parts ◄─────────────────────────┘
                one item, and that alone, again and again ─► it fails: ProcessDied

Most workers that die were killed by a person, or because memory ran out. Then no item is at fault: the parts are
committed like any other results, and isolation costs only time (docs/decisions/0026).
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

#: Claims without a result after which a batch is processed part by part.
CLAIMS = 2
#: Parts into which a batch, or the part that was in hand, is divided.
PARTS = 8
#: Deaths of workers with one item alone in hand after which that item fails; or its number of attempts, if larger.
DEATHS = 3
#: Deaths with other items in hand that count as one death alone.
_BESIDE = 3
#: Seconds for which a part waits until nothing else is in hand, and for which no other item is started beside it.
QUIET_S, ALONE_S = 10.0, 30.0


@dataclass(slots=True)
class _Batch:
    claimed: InFlightBatch
    claims: int
    #: The parts still to be done, each with its note.
    parts: deque[tuple[ItemBlock, Note]]
    #: The note of the part that was given to the pool.
    note: Note | None = None
    since: float = field(default_factory=time.monotonic)


class Isolation:
    """For the fetcher's thread. `idle` returns whether the pool is empty."""

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
        """Which of its items were in hand when its worker died, if known."""
        return self._notes.read(batch)

    def add(self, claimed: InFlightBatch, block: ItemBlock, claims: int, note: Note | None) -> None:
        """Take over a batch that is in flight after this many claims, with its open items."""
        logger.warning(
            "workers died with this batch in hand; processing it part by part",
            extra={"action": "isolate", "batch": claimed.batch.id, "claims": claims},
        )
        parts, failed = _plan(block, note, claims, max(DEATHS, claimed.run.manifest.spec.attempts))
        self._batches.append(_Batch(claimed, claims, deque(parts)))
        if failed is not None:
            count = failed.deaths + failed.deaths_beside
            beside = "" if failed.deaths_beside else ", with nothing else in hand"
            message = (
                f"the worker that did this item died with it, {count} times{beside}: "
                "the item ends it, or memory runs out and the kernel takes the worker"
            )
            self._fail(claimed.batch.run, Failed(failed.first, DIED, message, count))

    def advance(self) -> bool:
        """Do the next step, if there is one now; return whether claiming should pause."""
        if not self._batches:
            return False
        batch = self._batches[0]
        if not self._in_flight.has(batch.claimed.batch.id):
            # It was committed or released.
            if not batch.claimed.open_items:
                self._notes.remove(batch.claimed.batch.id)
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
            return False  # it only waits for its commit
        if batch.note is None and waited_s < QUIET_S and not self._idle():
            return True
        self._begin_next(batch)
        return True

    def _done(self, batch: _Batch, note: Note) -> bool:
        if self._idle():
            return True
        first = batch.claimed.batch.first
        mask = ((1 << (note.end - note.first)) - 1) << (note.first - first)
        return not batch.claimed.open_items & mask

    def _begin_next(self, batch: _Batch) -> None:
        block, note = batch.parts[0]
        note = replace(note, alone=int(self._idle()))
        self._write(batch.claimed.batch.id, note)
        batch.parts.popleft()
        batch.note, batch.since = note, time.monotonic()
        self._give(batch.claimed, block)

    def _stop_isolating(self, batch: _Batch, note: Note) -> None:
        """The part takes long, and other batches have waited long enough."""
        batch.note = replace(note, alone=0)
        self._write(batch.claimed.batch.id, batch.note)

    def _write(self, batch: str, note: Note) -> None:
        try:
            self._notes.write(batch, note)
        except RedisFull:
            # Redis is full: work has to go on without a note, and an old note would mislead.
            self._notes.remove(batch)


def _plan(
    block: ItemBlock, note: Note | None, claims: int, most: int
) -> tuple[list[tuple[ItemBlock, Note]], Note | None]:
    """The parts to do one after another, and the note of the item that fails, if one does."""
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
