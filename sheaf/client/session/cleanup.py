"""What a session no longer needs on the volume, until there is time to remove it."""

from __future__ import annotations

import shutil
import time
from collections import deque

from sheaf.client.session.results import ResultFile, Segment

#: Folders removed per call: this many, or this fraction of the backlog. Each takes 0.3 ms in which none is received.
_AT_ONCE, _FRACTION = 2, 50
#: Seconds for which the folder of a segment that was given up stays, so that workers find that it was cancelled.
_CANCELLED_S = 15.0


class Cleanup:
    """For one thread. `keep`: nothing is removed."""

    def __init__(self) -> None:
        self.keep = False
        self._segments: deque[Segment] = deque()
        self._unfinished: deque[tuple[float, Segment]] = deque()
        #: The files that these segments' results are in; some may still be in use.
        self._result_files: list[ResultFile] = []

    def add(self, segment: Segment, *, unfinished: bool) -> None:
        if unfinished:
            self._unfinished.append((time.monotonic() + _CANCELLED_S, segment))
        else:
            self._segments.append(segment)
        if segment.result_file not in self._result_files:
            self._result_files.append(segment.result_file)

    def sweep(self, now: float) -> None:
        """Remove some of what is there."""
        while self._unfinished and self._unfinished[0][0] <= now:
            self._segments.append(self._unfinished.popleft()[1])
        for _ in range(min(max(_AT_ONCE, len(self._segments) // _FRACTION), len(self._segments))):
            segment = self._segments.popleft()
            if not self.keep:
                shutil.rmtree(segment.run.folder, ignore_errors=True)
        for file in [file for file in self._result_files if file.last and not file.open]:
            self._result_files.remove(file)
            file.remove(keep=self.keep)

    def empty(self) -> None:
        """The session ends, and its folder goes as a whole."""
        for file in self._result_files:
            file.close()
