"""Where a worker's commits spend their time, for the worker registry and its final log message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sheaf.run.items import Results, record_bytes


@dataclass(slots=True)
class CommitStats:
    """Totals since the start; durations are in seconds."""

    commits: int = 0
    bytes: int = 0
    #: Waiting for the lock in Redis, waiting for the fence, and having both: appending, syncing, noting.
    lock_s: float = 0.0
    fence_s: float = 0.0
    write_s: float = 0.0

    def count(self, groups: Iterable[Results]) -> None:
        """Count a successful commit."""
        self.commits += 1
        self.bytes += sum(map(record_bytes, groups))

    def fields(self) -> dict[str, str]:
        """As text, for the worker registry."""
        return {name: f"{getattr(self, name):.6g}" for name in self.__slots__}
