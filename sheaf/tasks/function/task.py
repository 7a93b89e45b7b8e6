"""The user's own function as a task. What it is (plain, async, a stream) and its options choose the loop that calls it.

window()  signature, setup ─► run()  ─┬─ plain.py         one attempt, one item after another
                                      ├─ retrying.py       several attempts, with pauses in which others go on
                                      ├─ asynchronous.py  many items in flight on one event loop
                                      └─ stream.py        a generator that takes items as it likes
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from sheaf.formats import Format
from sheaf.run.items import Result
from sheaf.tasks.decorator import TaskDeclaration
from sheaf.tasks.function.calls import build_call, build_number_call, check_way, parser
from sheaf.tasks.function.finder import Found, check_signature
from sheaf.tasks.function.plain import run_plain
from sheaf.tasks.function.process_state import process_state
from sheaf.tasks.function.retrying import WINDOW, PatientLoop
from sheaf.tasks.function.setup import opened
from sheaf.tasks.protocol import Source
from sheaf.tasks.retry_policy import RetryPolicy


class FunctionTask:
    """Calls a function with each item; what it returns is the record's value."""

    def __init__(self, found: Found) -> None:
        self._found = found
        # Not while items wait for it: what the system refuses then would be theirs.
        if found.kind != "function":
            importlib.import_module(
                "sheaf.tasks.function.asynchronous" if found.kind == "async" else "sheaf.tasks.function.stream"
            )
        #: Items that are in progress at once.
        self.at_once = 1
        #: Whether its setup leaves something open in this process, for as long as that lives.
        self.keeps = found.declared.setup is not None

    def window(self, options: Mapping[str, Any]) -> int:
        check_signature(self._found, check_way(options))
        declared = self._found.declared.with_options(options)
        opened(self._found)
        self.at_once = declared.concurrency if self._found.kind == "async" else 1
        if self._found.kind != "function":
            return 2 * declared.concurrency
        if RetryPolicy.of(declared).attempts == 1:
            return 0
        return WINDOW

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        found, way, extra = self._found, check_way(options), opened(self._found)
        declared = found.declared.with_options(options)
        process_state.settle()
        if found.kind == "stream":
            return _stream(found, declared, way, extra, source, format)
        call = build_call(found.function, way, extra)
        if found.kind == "async":
            from sheaf.tasks.function.asynchronous import AsyncLoop

            return AsyncLoop(call, found.folder, declared, source, format).run()
        if RetryPolicy.of(declared).attempts == 1:
            return run_plain(call, build_number_call(found.function, way, extra), found.folder, source, format)
        return PatientLoop(call, found.folder, RetryPolicy.of(declared), format).run(source)


def _stream(
    found: Found, declared: TaskDeclaration, way: str, extra: tuple[Any, ...], source: Source, format: Format
) -> Iterator[Result | None]:
    from sheaf.tasks.function.stream import StreamLoop

    return StreamLoop(found, declared, extra, parser(way), format).run(source)
