"""What hosted processes have printed, and that they have ended, on its way to their programs, in order.

A program hears of an end only when it has had everything that the process printed before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sheaf.broker.program_processes import HostSteps, ProcessId

#: Bytes of a program's text that wait here; from then on its processes' streams are not read, so that they wait too.
FULL_BYTES = 256 << 10
#: Entries and bytes that are sent at once.
_BATCH_ENTRIES, _BATCH_BYTES = 200, 512 << 10
#: Seconds for which the text of a process that has ended waits for a program that reads nothing.
DROP_S = 5.0


class _Text(NamedTuple):
    process: str
    stream: int
    text: bytes

    @property
    def entry(self) -> bytes:
        return f"{self.process} {self.stream}\n".encode() + self.text


class _End(NamedTuple):
    process: str
    exit_code: int


@dataclass(slots=True)
class _Waiting:
    """What waits for one program."""

    items: deque[_Text | _End] = field(default_factory=deque)
    size: int = 0
    #: The batch that may have been taken already, its answer being lost: its number, and how many items it has. It has
    #: to be sent again as it was.
    sent: tuple[int, int] | None = None
    #: Since when there is no room for more.
    stuck_since: float | None = None
    dropped: int = 0


class Relay:
    """For the host's thread. `let_go` is called with each process that has ended, before its program hears of it."""

    def __init__(self, steps: HostSteps, let_go: Callable[[ProcessId, int], None]) -> None:
        self._steps = steps
        self._let_go = let_go
        self._programs: dict[str, _Waiting] = {}
        #: The number of the last batch, of whichever program.
        self._batch = 0

    def is_full(self, program: str) -> bool:
        waiting = self._programs.get(program)
        return waiting is not None and waiting.size >= FULL_BYTES

    @property
    def waiting(self) -> bool:
        """Whether anything is still to be sent."""
        return any(waiting.items for waiting in self._programs.values())

    def add(self, process: ProcessId, stream: int, text: bytes) -> None:
        if text:
            waiting = self._programs.setdefault(process.program, _Waiting())
            waiting.items.append(_Text(process.process, stream, text))
            waiting.size += len(text)

    def end(self, process: ProcessId, exit_code: int) -> None:
        self._programs.setdefault(process.program, _Waiting()).items.append(_End(process.process, exit_code))

    def ending(self) -> set[ProcessId]:
        """Processes that have ended and whose programs have not heard of it yet."""
        return {
            ProcessId(program, item.process)
            for program, waiting in self._programs.items()
            for item in waiting.items
            if isinstance(item, _End)
        }

    def flush(self, now: float) -> None:
        """Send what there is and what there is room for. Raises ClusterError: it is sent at another time then."""
        for program, waiting in self._programs.items():
            while waiting.items and self._send(program, waiting, now):
                pass

    def forget(self, programs: set[str]) -> None:
        """Keep what is known of these programs only, and of those for which something waits."""
        for program in [name for name, each in self._programs.items() if name not in programs and not each.items]:
            del self._programs[program]

    def _send(self, program: str, waiting: _Waiting, now: float) -> bool:
        """Send the next of what waits; False if there is no room for it."""
        first = waiting.items[0]
        if isinstance(first, _End):
            process = ProcessId(program, first.process)
            self._let_go(process, first.exit_code)
            self._steps.ended(process, first.exit_code)
            waiting.items.popleft()
            return True
        if waiting.sent is None:
            self._batch += 1
            waiting.sent = self._batch, _batch(waiting.items)
        number, count = waiting.sent
        entries = [item.entry for item in list(waiting.items)[:count] if isinstance(item, _Text)]
        taken = self._steps.print(program, number, entries)
        waiting.sent = None
        if taken is False and not self._give_up(waiting, now):
            return False
        if taken:
            waiting.stuck_since = None
        if taken is not False:
            for _ in range(count):
                self._remove(waiting)
        return True

    def _give_up(self, waiting: _Waiting, now: float) -> bool:
        """Whether text was dropped, because its process has ended and the program does not read."""
        waiting.stuck_since = now if waiting.stuck_since is None else waiting.stuck_since
        if now - waiting.stuck_since < DROP_S or not any(isinstance(item, _End) for item in waiting.items):
            return False
        while isinstance(waiting.items[0], _Text):
            waiting.dropped += len(self._remove(waiting))
        self._say_dropped(waiting)
        return True

    def _say_dropped(self, waiting: _Waiting) -> None:
        """Behind all that waits: it is read when there is room again."""
        end = next(item for item in waiting.items if isinstance(item, _End))
        said = f"sheaf: {waiting.dropped:,} bytes that processes printed were dropped: the program did not read them\n"
        if not any(isinstance(item, _Text) and item.text.startswith(b"sheaf: ") for item in waiting.items):
            waiting.items.append(_Text(end.process, 2, said.encode()))
            waiting.size += len(said)
            waiting.dropped = 0

    def _remove(self, waiting: _Waiting) -> bytes:
        item = waiting.items.popleft()
        assert isinstance(item, _Text)  # noqa: S101  a batch ends before an end
        waiting.size -= len(item.text)
        return item.text


def _batch(items: deque[_Text | _End]) -> int:
    """How many items go together: texts, up to the next end."""
    count = size = 0
    for item in _texts(items):
        if count >= _BATCH_ENTRIES or (count and size + len(item.text) > _BATCH_BYTES):
            break
        count, size = count + 1, size + len(item.text)
    return count


def _texts(items: deque[_Text | _End]) -> Iterator[_Text]:
    for item in items:
        if isinstance(item, _End):
            return
        yield item
