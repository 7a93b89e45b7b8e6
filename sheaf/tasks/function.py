"""The user's own function as a task. What it is (plain, async, a stream) and its options choose the loop that calls it.

window()  signature, setup ─► run()  ─┬─ plain.py         one attempt, one item after another
                                      ├─ patient.py       several attempts, with pauses in which others go on
                                      ├─ asynchronous.py  many items in flight on one event loop
                                      └─ stream.py        a generator that takes items as it likes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sheaf.batch import Result
from sheaf.formats import Format
from sheaf.tasks import Source
from sheaf.tasks.calls import build_call
from sheaf.tasks.description import check_way
from sheaf.tasks.finder import Found, check_signature
from sheaf.tasks.plain import run_plain


class FunctionTask:
    """Calls a function with each item; what it returns is the record's value."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def window(self, options: Mapping[str, Any]) -> int:
        check_signature(self._found, check_way(options))
        return 0

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        call = build_call(self._found.function, check_way(options), ())
        return run_plain(call, self._found.folder, source, format)
