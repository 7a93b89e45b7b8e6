"""What a worker has in hand of a batch whose workers died with it, in Redis: the next one looks when this one is dead.

    claim counted ──dies, dies──► isolated: note, part, note, part … ──dies──► the note says which part it was

It is lost with Redis, and the search begins anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors
from sheaf.broker.wrong_types import mended

#: Seconds for which a note stays: longer than any worker waits for its batch to be put back.
_NOTE_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Note:
    """Items `first` up to `end` of a batch are in hand. All numbers are whole and not negative."""

    first: int
    end: int
    #: How often the batch had been claimed. One that was handed back in peace is not claimed once more by this count.
    claims: int
    #: 1: nothing else is in hand; 0: something is.
    alone: int
    #: How often a worker died while this one item was in hand, alone; how often while others were.
    deaths: int = 0
    deaths_beside: int = 0


class Notes:
    """Thread-safe. Raises ClusterError when Redis does not answer."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection

    def read(self, batch: str) -> Note | None:
        """What was in hand of the batch when last noted; None also for an invalid note."""
        key = keys.IN_HAND_PREFIX + batch
        with redis_errors():
            value = mended(self._connection, [key], lambda: self._connection.get(key))
        try:
            note = Note(**json.loads(value))  # type: ignore[arg-type]  # bytes, or None, which is a TypeError
        except (TypeError, ValueError, RecursionError):
            return None
        return note if all(type(part) is int and 0 <= part < 2**53 for part in asdict(note).values()) else None

    def write(self, batch: str, note: Note) -> None:
        with redis_errors():
            self._connection.set(keys.IN_HAND_PREFIX + batch, json.dumps(asdict(note)), ex=_NOTE_S)

    def remove(self, batch: str) -> None:
        with redis_errors():
            self._connection.delete(keys.IN_HAND_PREFIX + batch)
