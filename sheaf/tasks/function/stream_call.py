"""One call of a stream's generator function: what it has taken, and what it has given for it.

Values carry no name, so that the n-th one is the n-th item's is known only when the count is right: until then they are
held. `taken == given` at the moment at which the generator asks for another item is such a moment, unless it has asked
for items between its values; then only its end is (docs/decisions/0027-values-and-their-items.md).
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sheaf.core.errors import InputError
from sheaf.run.items import Done, Item, Result
from sheaf.tasks.function.calls import Call
from sheaf.tasks.function.plain import IDLE_S
from sheaf.tasks.protocol import Source
from sheaf.tasks.tracebacks import failed

#: How long a generator that owes results waits for the next item before its iterator ends.
LULL_S = 0.05
#: Bytes of records that are held at most (and one more), before the generator is asked to give what it owes.
HELD_BYTES = 16 << 20


class Taking(NamedTuple):
    """An item that the generator has taken."""

    #: As the generator got it.
    value: Any
    item: Item


class Limits(NamedTuple):
    """How much may be held of a generator that never catches up, before it is asked to give what it owes."""

    results: int
    age_s: float


class GeneratorCall(ABC):
    """What the generator iterates over. `end` is raised for it once there is nothing more, again and again."""

    def __init__(self, source: Source, *, pairs: bool) -> None:
        self._source = source
        self._pairs = pairs
        #: What was taken and has no value yet.
        self.owed: deque[Taking] = deque()
        #: What has a value of which it is not known yet whether it is its own.
        self._held: deque[tuple[Taking, Result]] = deque()
        self._held_bytes = 0
        self.taken = self.given = 0
        #: When the generator's iterator was ended; None: it was not.
        self.ended_at: float | None = None
        self._end = StopIteration()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        taking = self._next() if self.ended_at is None else None
        if taking is None:
            self.ended_at = self.ended_at or time.monotonic()
            raise self._end
        self.owed.append(taking)
        self.taken += 1
        return taking.value

    @abstractmethod
    def _next(self) -> Taking | None:
        """What is to be done next; None: nothing more."""

    def is_end(self, error: BaseException) -> bool:
        """Whether the generator has only let our own StopIteration through, as `yield f(next(items))` does."""
        return isinstance(error, RuntimeError) and error.__cause__ is self._end

    def whose(self, answer: Any) -> tuple[Taking | None, Any]:
        """The item that the generator has answered, if there is one, and its value. Raises TypeError if pairs are none.

        The item of a pair is the very object that the generator got, else one that is written the same.
        """
        self.given += 1
        if not self._pairs:
            return (self.owed.popleft() if self.owed else None), answer
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TypeError(f"the generator yielded {answer!r:.80}, but not (item, value)")
        wanted, value = answer
        place = self._place_of(wanted)
        if place is None:
            return None, value
        taking = self.owed[place]
        del self.owed[place]
        return taking, value

    def _place_of(self, wanted: Any) -> int | None:
        for place, taking in enumerate(self.owed):
            if taking.value is wanted:
                return place
        written = _written(wanted)
        if written is not None:
            for place, taking in enumerate(self.owed):
                if _written(taking.value) == written:
                    return place
        return None

    def hold(self, taking: Taking, result: Result) -> None:
        """Keep an item's result until it is known to be its own; in a pair, it is."""
        if self._pairs:
            self._source.settle([result])
            return
        if self._held:
            # Not this one: if the generator never comes back from here, there has to be an item to charge.
            self._source.hold(self._held[-1][0].item.index)
        self._held.append((taking, result))
        self._held_bytes += len(result.record if isinstance(result, Done) else result.message)

    def settle(self) -> None:
        """As many values as items: each value is its own item's."""
        if self._held:
            self._source.settle([result for _, result in self._held])
            self._held.clear()
            self._held_bytes = 0

    def doubtful(self) -> list[Taking]:
        """Take out all of which it is not known what their values are, in the order in which they were taken."""
        takings = [taking for taking, _ in self._held] + list(self.owed)
        for taking in takings[max(0, len(self._held) - 1) :]:
            self._source.hold(taking.item.index)
        self._held.clear()
        self.owed.clear()
        return takings


class LiveCall(GeneratorCall):
    """Over the items as they come."""

    def __init__(self, source: Source, parse: Call, *, pairs: bool, limits: Limits, due: Callable[[], bool]) -> None:
        super().__init__(source, pairs=pairs)
        self._parse = parse
        self._limits = limits
        #: Whether there is something else to be done by now.
        self._due = due
        self._held_since = 0.0
        #: It has asked for an item between values: from then on only its end tells whether the count is right.
        self._interleaves = False
        self._thread = threading.get_ident()

    def hold(self, taking: Taking, result: Result) -> None:
        if not self._held:
            self._held_since = time.monotonic()
        super().hold(taking, result)

    def _next(self) -> Taking | None:
        if (self._held and self.owed) or threading.get_ident() != self._thread:
            self._interleaves = True
        if not self._interleaves and not self.owed:
            self.settle()
        while not self._full() and (item := self._next_item()) is not None:
            try:
                return Taking(self._parse(item.text), item)
            except InputError as error:
                self._source.settle([failed(item, error, None)])
        return None

    def _full(self) -> bool:
        """Whether the generator should now give what it owes, so that its values can be kept."""
        if self._due():
            return True
        if not self._interleaves or not self._held:
            return False
        return (
            len(self._held) >= self._limits.results
            or self._held_bytes >= HELD_BYTES
            or time.monotonic() - self._held_since >= self._limits.age_s
        )

    def _next_item(self) -> Item | None:
        item = self._source.take(0)
        while item is None and not self._source.closed:
            if self.owed or self._held:
                return self._source.take(LULL_S)
            self._source.wait(IDLE_S)
            if self._due():
                return None
            item = self._source.take(0)
        return item


class RepeatedCall(GeneratorCall):
    """Over items that were taken before: a few of those among which something is wrong."""

    def __init__(self, source: Source, takings: list[Taking], parse: Call, *, pairs: bool) -> None:
        super().__init__(source, pairs=pairs)
        self._parse = parse
        self._left = iter(takings)

    def _next(self) -> Taking | None:
        taking = next(self._left, None)
        if taking is None:
            return None
        self._source.resume(taking.item.index)
        # Read anew: the generator may have changed the value that it got.
        return Taking(self._parse(taking.item.text), taking.item)

    @property
    def untaken(self) -> list[Taking]:
        """What the generator has not asked for."""
        return list(self._left)


def _written(value: Any) -> str | None:
    """Equal for items that are written the same: 1, 1.0 and true are equal to Python, and three different items."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None
