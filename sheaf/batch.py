"""The nouns that travel: an item, a batch of them, and what became of an item."""

from __future__ import annotations

import re
from typing import NamedTuple

from sheaf.errors import UsageError

#: Letters, digits and dashes; RQ accepts no others in a job's id, and a run's name is also a folder's name.
_BATCH_ID = re.compile(r"(?P<run>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)_(?P<number>\d+)")


class Item(NamedTuple):
    """One unit of input. (run, index) is its identity; `text` is its line in the run's items file."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which nobody needs here
    text: str


class Done(NamedTuple):
    """An item succeeded: `record` holds the bytes it contributes to the output (there may be none)."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which nobody needs here
    record: bytes


class Failed(NamedTuple):
    """An item failed for good, after `attempts` tries. `error` is a short class name, `message` is for a person."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which nobody needs here
    error: str
    message: str
    attempts: int


Result = Done | Failed


class Batch(NamedTuple):
    """A consecutive range of one run's items: `count` items from `first` on. It travels as one RQ job."""

    run: str
    number: int
    first: int
    count: int  # type: ignore[assignment]  # hides tuple.count()

    @property
    def id(self) -> str:
        """The batch's name, which is also its RQ job's id."""
        return batch_id(self.run, self.number)

    @property
    def end(self) -> int:
        """The index after the last item's."""
        return self.first + self.count


def batch_id(run: str, number: int) -> str:
    return f"{run}_{number}"


def parse_batch_id(text: str) -> tuple[str, int]:
    """Return (run, number). Raises UsageError for an id that is not a batch's."""
    match = _BATCH_ID.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not the id of a batch (<run>_<number>); was it put on Sheaf's queue by another program?"
        )
    return match["run"], int(match["number"])
