"""A commit as the index knows it: a row of `commits`, whose parts have to agree before any of them is believed."""

from __future__ import annotations

from typing import NamedTuple

from sheaf.core.ranges import Range, count_of, unpack, unpack_ranges

#: What a CommitRow is made of, in its order.
COLUMNS = "id, run, items, low, high, ranges, lengths, offset, length, checksum"


class CommitRow(NamedTuple):
    id: int
    run: int | None
    items: int
    low: int | None
    high: int | None
    ranges: bytes
    lengths: bytes
    offset: int
    length: int
    checksum: int

    def records(self) -> tuple[list[Range], list[int]]:
        """Return the items and their records' lengths. Raises ValueError if the row contradicts itself.

        One bit that was flipped anywhere in the row does that: it shifts the last item, or changes a count or a sum.
        """
        numbers = (self.id, self.items, self.offset, self.length, self.checksum)
        try:
            held, sizes = unpack_ranges(self.ranges), unpack(self.lengths)
            if not all(isinstance(number, int) for number in numbers):
                fits = False
            elif self.run is None:
                fits = not held and not sizes
            else:
                fits = (
                    count_of(held) == len(sizes) == self.items > 0
                    and sum(sizes) == self.length
                    and (held[0][0], held[-1][1] - 1) == (self.low, self.high)
                    and all(first < end for first, end in held)
                )
        except (TypeError, ValueError, OverflowError, EOFError) as error:
            raise ValueError(f"commit {self.id} cannot be read: {error}") from error
        if not fits:
            raise ValueError(f"commit {self.id} does not add up: items, records and bytes disagree")
        return held, sizes

    def believed(self) -> list[Range]:
        """The items that a row names which contradicts itself; none if they cannot be made out."""
        try:
            return unpack_ranges(self.ranges)
        except (TypeError, ValueError, OverflowError, EOFError):
            return []
