"""Counts the failed attempts of items whose processes died, and finds items that kill their process only later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Attempts:
    """Failed attempts of each item that has had any. Empty while no process dies."""

    _counts: dict[tuple[str, int], int] = field(default_factory=dict)

    def charge(self, run: str, index: int) -> int:
        """Count one more failed attempt of the item; return how many that makes."""
        count = self._counts.get((run, index), 0) + 1
        self._counts[run, index] = count
        return count

    def count(self, run: str, index: int) -> int:
        return self._counts.get((run, index), 0)

    def forget_item(self, run: str, index: int) -> None:
        """The item has its result."""
        self._counts.pop((run, index), None)

    def forget_all(self, run: str, indexes: Iterable[int]) -> None:
        if self._counts:
            for index in indexes:
                self.forget_item(run, index)

    def forget(self, run: str) -> None:
        """Forget all items of a run."""
        for key in [key for key in self._counts if key[0] == run]:
            del self._counts[key]


class Bisection:
    """Limits the items per child of runs whose processes die for no known item.

    Each such death divides the limit, until a child that dies has a single item, which is then the cause. The limit
    ends when as many items are done as the cause can be among.
    """

    #: A child gets this fraction of what the dead one had.
    DIVISOR = 8

    def __init__(self) -> None:
        #: Run -> items that a child may have at once, and how many are to be done until the limit ends.
        self._limits: dict[str, tuple[int, int]] = {}

    def narrow(self, run: str, outstanding: int) -> None:
        """A child has died that had this many items of the run."""
        _, left = self._limits.get(run, (0, 0))
        self._limits[run] = (max(1, outstanding // self.DIVISOR), max(left, outstanding))

    def limit(self, run: str | None) -> int | None:
        """How many items of the run a child may have at once; None: no limit."""
        if run is None or run not in self._limits:
            return None
        return self._limits[run][0]

    def finished(self, run: str, count: int) -> None:
        """This many items of the run have their results."""
        if run in self._limits:
            limit, left = self._limits.pop(run)
            if left > count:
                self._limits[run] = (limit, left - count)

    def forget(self, run: str) -> None:
        self._limits.pop(run, None)
