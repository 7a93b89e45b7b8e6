"""The loop of a generator function: it takes items as it has room for them, and yields their values when it has them.

    @task(stream=True)       yields one value per item, in the order in which it took them
    @task(stream="pairs")    yields (item, value), in any order

Its iterator ends when nothing more has come for a moment although items are unanswered: then it yields what it still
owes and returns, and is called again with the next items. So a pipeline never waits for an item that will not come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from sheaf.batch import Failed, Item, Result
from sheaf.errors import InputError, SheafError
from sheaf.formats import Format
from sheaf.tasks import Source
from sheaf.tasks.calls import Call
from sheaf.tasks.faults import failed
from sheaf.tasks.finder import Found
from sheaf.tasks.patient import encode
from sheaf.tasks.plain import IDLE_S
from sheaf.tasks.spec import place_of

#: For so long a generator that owes results waits for the next item, before it is told that none comes now.
LULL_S = 0.05


class Items:
    """What the generator iterates over."""

    def __init__(self, source: Source, parse: Call) -> None:
        self._source = source
        self._parse = parse
        #: What was taken and has no result yet: as the generator got it, and the item.
        self.owed: deque[tuple[Any, Item]] = deque()
        #: Items whose text could not be read as this run passes it.
        self.unreadable: list[Failed] = []
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while (item := self._next_item()) is not None:
            self.taken += 1
            try:
                value = self._parse(item.text)
            except InputError as error:
                self.unreadable.append(failed(item, error, None))
                continue
            self.owed.append((value, item))
            return value
        raise StopIteration

    def _next_item(self) -> Item | None:
        item = self._source.take(0)
        while item is None and not self._source.closed:
            if self.owed or self.unreadable:
                return self._source.take(LULL_S)
            self._source.wait(IDLE_S)
            item = self._source.take(0)
        return item

    def first_owed(self) -> Item | None:
        return self.owed.popleft()[1] if self.owed else None

    def owed_for(self, wanted: Any) -> Item | None:
        """The item that the generator got as `wanted`: that very object, else an equal one."""
        for same in (lambda value: value is wanted, lambda value: value == wanted):
            for place, (value, item) in enumerate(self.owed):
                if same(value):
                    del self.owed[place]
                    return item
        return None


class StreamLoop:
    def __init__(self, found: Found, extra: tuple[Any, ...], parse: Call, format: Format) -> None:
        self._function = found.function
        self._extra = extra
        self._parse = parse
        self._folder = found.folder
        self._pairs = found.spec.stream == "pairs"
        self._format = format
        #: For what is wrong with the generator itself.
        self._place = place_of(found.function)

    def run(self, source: Source) -> Iterator[Result | None]:
        """Call the generator function again and again. What it raises escapes: nobody knows which item did it."""
        while not source.closed:
            items = Items(source, self._parse)
            for answer in self._answers(items):
                yield self._settle(items, answer)
                yield from self._unreadable(items)
            yield from self._unreadable(items)
            if items.owed:
                raise RuntimeError(
                    f"{self._place}: the generator ended without a value for {len(items.owed)} of the "
                    f"{items.taken} items that it had taken; yield one for each, also after the last item has come"
                )
            if not items.taken and not source.closed:
                raise RuntimeError(f"{self._place}: the generator ended without taking an item")
            yield None

    def _answers(self, items: Items) -> Iterator[Any]:
        try:
            yield from self._function(items, *self._extra)
        except SheafError as error:
            # As our own it would refuse the whole run; it is the user's (from `cluster.lock`, say).
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    def _unreadable(self, items: Items) -> Iterator[Result]:
        while items.unreadable:
            yield items.unreadable.pop(0)

    def _settle(self, items: Items, answer: Any) -> Result:
        if not self._pairs:
            item, value = items.first_owed(), answer
        else:
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise TypeError(f"{self._place}: the generator yielded {answer!r:.80}, but not (item, value)")
            item, value = items.owed_for(answer[0]), answer[1]
        if item is None:
            raise RuntimeError(
                f"{self._place}: the generator yielded {answer!r:.80}, "
                "but it has taken no item that this could be the value of"
            )
        if isinstance(value, Exception):
            return failed(item, value, self._folder)
        return encode(item, value, self._format, self._folder)
