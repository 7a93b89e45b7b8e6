"""A program, as `sheaf.multiprocessing` makes one of the process that imports it, in a test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sheaf.broker.connection import connect
from sheaf.broker.program_processes import new_id
from sheaf.core.settings import Settings
from sheaf.multiprocessing.hosted import Hosted, Hosting
from sheaf.multiprocessing.objects.references import use_codec
from sheaf.multiprocessing.program import Program
from sheaf.multiprocessing.program_modules import ProgramModules


class HostingProgram:
    """A program whose printed text the test can look at."""

    def __init__(
        self, settings: Settings, main: ModuleType | None = None, write: Callable[[int, bytes], object] | None = None
    ) -> None:
        """`main`: the main module whose classes travel; `write`: where printed text goes, if the test does not look."""
        self.connection = connect(settings)
        self.program = Program(self.connection)
        self.name = self.program.name
        self.member = self.program.member
        use_codec(self.member, ProgramModules(main))
        self._text: defaultdict[int, list[bytes]] = defaultdict(list)
        self.hosting = Hosting(settings, self.connection, self.name, write or self._write)

    def start(self, target: Callable[..., Any], *args: Any, name: str = "Process-1", **kwargs: Any) -> Hosted:
        process = new_id()
        packed = self.member.pack((target, args, kwargs), process)
        return self.hosting.start(name, [packed.data], process=process)

    @property
    def stdout(self) -> str:
        return b"".join(self._text[1]).decode(errors="replace")

    @property
    def stderr(self) -> str:
        return b"".join(self._text[2]).decode(errors="replace")

    def close(self) -> None:
        self.hosting.close()
        self.program.close()
        self.connection.close()

    def _write(self, stream: int, text: bytes) -> None:
        self._text[stream].append(text)
