"""Numbers as items: a range represents its texts, and none of them is made before it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Numbers(Sequence[str]):
    """The texts of a range's numbers. A slice of them is a range again, whatever its length."""

    __slots__ = ("range",)

    def __init__(self, numbers: range) -> None:
        self.range = numbers

    def __len__(self) -> int:
        return len(self.range)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Numbers: ...

    def __getitem__(self, place: int | slice) -> str | Numbers:
        return Numbers(self.range[place]) if isinstance(place, slice) else str(self.range[place])

    def __iter__(self) -> Iterator[str]:
        return map(str, self.range)

    def __eq__(self, other: object) -> bool:
        return self.range == other.range if isinstance(other, Numbers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.range)

    def __repr__(self) -> str:
        return f"Numbers({self.range!r})"
