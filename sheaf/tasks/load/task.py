"""The `load` task: what a run's loader needs is set up for it here, and taken down again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sheaf.formats import Format
from sheaf.run.items import Result
from sheaf.tasks.load.allocator import keep_freed_memory
from sheaf.tasks.load.connections import FIRST, MOST_UNASKED, Choice
from sheaf.tasks.load.files import more_files
from sheaf.tasks.load.loader import Loader
from sheaf.tasks.load.options import LoadOptions
from sheaf.tasks.load.trust import Trust
from sheaf.tasks.protocol import Supply


class LoadTask:
    """Loads each item's URL; its record is the page in the output's format."""

    def __init__(self) -> None:
        self._loader: Loader | None = None
        #: Pages that are in progress at once, to begin with.
        self.at_once = FIRST

    @property
    def choices(self) -> list[Choice]:
        """What the last run decided by itself so far."""
        return self._loader.choices if self._loader else []

    def window(self, options: Mapping[str, Any]) -> int:
        asked = LoadOptions.from_mapping(options).connections
        self.at_once = asked or FIRST
        # New ones are sent when half of these are gone: there should then still be some that wait.
        return 3 * (asked or MOST_UNASKED)

    def run(self, source: Supply, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        keep_freed_memory()
        checked = LoadOptions.from_mapping(options)
        with more_files(), Trust(checked) as trust:
            loader = self._loader = Loader(checked, trust, format)
            try:
                yield from loader.run(source)
            finally:
                loader.close()
