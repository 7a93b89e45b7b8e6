"""The nouns that travel: an item, a batch of them, and what became of an item."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sheaf.core.errors import UsageError

#: Letters, digits and dashes; RQ accepts no others in a job's id, and a run's name is also a folder's name.
_BATCH_ID = re.compile(r"(?P<run>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)_(?P<number>\d+)")


#: The class of an item's failure whose time ran out, whatever the task.
TIMEOUT = "Timeout"
#: Classes that earlier versions wrote into their indexes by another name.
_FORMER_NAMES = {"TimedOut": TIMEOUT}


def failure_class(name: str) -> str:
    """Today's name of a class of failures."""
    return _FORMER_NAMES.get(name, name)


def known_as(classes: Iterable[str]) -> list[str]:
    """All names by which an index may know these classes of failures."""
    wanted = {failure_class(name) for name in classes}
    return [*wanted, *(former for former, name in _FORMER_NAMES.items() if name in wanted)]


class Item(NamedTuple):
    """One unit of input. (run, index) is its identity; `text` is its line in the run's items file."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which is not needed here
    text: str


class Done(NamedTuple):
    """An item succeeded: `record` holds the bytes it contributes to the output (there may be none)."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which is not needed here
    record: bytes


class Failed(NamedTuple):
    """An item failed for good, after `attempts` tries. `error` is a short class name, `message` is for a person."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which is not needed here
    error: str
    message: str
    attempts: int


class Bundle(NamedTuple):
    """Many items that succeeded, in few objects: their records one after the other, in the order of `indexes`.

    `records` may be in memory that is shared with the process that made it; it is valid for as long as the bundle is
    kept, or whatever else holds its `borrow`.
    """

    indexes: Sequence[int]
    #: Bytes of each record.
    lengths: Sequence[int]
    records: bytes | memoryview
    #: Gives the shared memory back when the last reference is gone; None: the records are a copy of our own.
    borrow: object = None

    def split(self) -> list[Done]:
        """The same as single results, each with a record of its own."""
        ends = itertools.accumulate(self.lengths)
        return [
            Done(index, bytes(self.records[end - length : end]))
            for index, length, end in zip(self.indexes, self.lengths, ends, strict=True)
        ]


#: What became of one item.
Result = Done | Failed
#: What became of one item or of several.
Results = Sequence[Done | Failed | Bundle]


def settled_count(results: Results) -> int:
    """How many items these are."""
    return sum(len(result.indexes) if isinstance(result, Bundle) else 1 for result in results)


def record_bytes(results: Results) -> int:
    """How many bytes their records have."""
    return sum(
        len(result.records) if isinstance(result, Bundle) else len(result.record) if isinstance(result, Done) else 0
        for result in results
    )


def single_results(results: Results) -> Iterator[Result]:
    """Every item's own result, bundles taken apart."""
    for result in results:
        if isinstance(result, Bundle):
            yield from result.split()
        else:
            yield result


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
