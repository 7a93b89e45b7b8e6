"""What a task is, seen from the process that runs it: a source of items, and results in return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from sheaf.formats import Format
from sheaf.run.items import Failed, Item, Result

#: An item in its barest form: index and text; of a run over a range of numbers, the number itself.
Pair = tuple[int, str | int]
#: Does an item: returns its record, or its failure.
Step = Callable[[Pair], bytes | Failed]


class Supply(Protocol):
    """Where items come from, one at a time, as a task has room for them."""

    def take(self, wait_s: float, /) -> Item | None:
        """Return the next item, or None if none comes within `wait_s` (0: do not wait)."""

    @property
    def closed(self) -> bool:
        """True once nothing will ever come again: end when your hands are empty."""


class Source(Supply, Protocol):
    """Where a task gets its items from, and whom it tells how it gets on with them."""

    def wait(self, wait_s: float) -> None:
        """Wait until items have come, or nothing ever will, but no longer than `wait_s`."""

    def do_all(self, step: Step) -> None:
        """Apply `step` to every item that is here, one after the other; what it returns is the item's result."""

    def postpone(self, index: int, wait_s: float) -> None:
        """Have the time of an item that was taken begin in `wait_s` seconds: it waits for its next try."""

    def hold(self, index: int) -> None:
        """Put aside an item that was taken: its time stops, it is not charged, another may come in its place."""

    def resume(self, index: int) -> None:
        """Take up one that was put aside: its time begins anew."""

    def settle(self, results: Sequence[Result]) -> None:
        """Hand over results from within the task, as if it had yielded them."""


class Task(Protocol):
    """Turns items into results. One object may serve several runs, one after another.

    One that has several items in progress at once says how many in an attribute `at_once`, set by window(); one that
    decides something by itself tells of it in an attribute `choices`; one that leaves something open in its process, in
    `keeps`.
    """

    def window(self, options: Mapping[str, Any]) -> int:
        """Get ready for a run with these options; return how many items a child wants outstanding (0: the pool adapts).

        Called before run(), and not counted as an item's time. Raises TaskError for options it cannot use.
        """

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        """Yield one result per item taken, in any order; None is an idle turn, in which results may be sent off.

        Ends when the source is closed and every item taken has its result. Raises TaskError for options it cannot use.
        """
