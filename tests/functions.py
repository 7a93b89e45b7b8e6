"""Run a task of the user's in this process: items in a list, results in a list."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from sheaf.formats import format_for
from sheaf.run.items import Done, Item, Result
from sheaf.tasks.protocol import Step
from sheaf.tasks.registry import resolve


class ListSource:
    """Gives out its items. The index in `pauses` is given out only after a lull, as if it came later."""

    def __init__(self, texts: Sequence[str], pauses: Sequence[int] = ()) -> None:
        self._items = [Item(index, text) for index, text in enumerate(texts)]
        self._pauses = set(pauses)
        self.results: list[Result] = []
        #: Items that were put aside, and how many there were at most.
        self.held: set[int] = set()
        self.most_held = 0
        #: How often an item was waited for in vain.
        self.lulls = 0
        #: What was put off, and for how long.
        self.postponed: list[tuple[int, float]] = []

    def take(self, wait_s: float) -> Item | None:
        if not self._items:
            self.lulls += wait_s > 0
            return None
        if self._items[0].index in self._pauses:
            if wait_s > 0:
                self._pauses.discard(self._items[0].index)
            return None
        return self._items.pop(0)

    def wait(self, wait_s: float) -> None:
        if self._items:
            self._pauses.discard(self._items[0].index)
        else:
            time.sleep(wait_s)

    def postpone(self, index: int, wait_s: float) -> None:
        self.postponed.append((index, wait_s))

    def hold(self, index: int) -> None:
        assert index not in self.held
        self.held.add(index)
        self.most_held = max(self.most_held, len(self.held))

    def resume(self, index: int) -> None:
        self.held.remove(index)

    def settle(self, results: Sequence[Result]) -> None:
        self.results += results
        self.held -= {result.index for result in results}

    def do_all(self, step: Step) -> None:
        while self._items:
            item = self._items.pop(0)
            result = step(item)
            self.results.append(Done(item.index, result) if isinstance(result, bytes) else result)

    @property
    def closed(self) -> bool:
        return not self._items


def run(
    name: str, tasks_dir: Path, texts: Sequence[str], source: ListSource | None = None, /, **options: object
) -> list[Result]:
    """Run a task on items; its results, in the order in which it gave them."""
    source = source or ListSource(texts)
    task = resolve(name, tasks_dir)
    task.window(options)
    given = [result for result in task.run(source, options, format_for("r.jsonl")) if result]
    return source.results + given


def values(results: list[Result]) -> list[object]:
    return [json.loads(result.record)["value"] if isinstance(result, Done) else result.error for result in results]


def by_index(results: list[Result]) -> list[object]:
    return values(sorted(results, key=lambda result: result.index))
