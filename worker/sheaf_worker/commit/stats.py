"""Where a worker's commits spend their time: shown on its card and in its last line of log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sheaf.run.items import Results, record_bytes


@dataclass(slots=True)
class CommitStats:
    """Where the committer's time has gone since the start, in seconds."""

    commits: int = 0
    bytes: int = 0
    #: Waiting for the lock in Redis, waiting for the fence, and having both: appending, syncing, noting.
    lock_s: float = 0.0
    fence_s: float = 0.0
    write_s: float = 0.0

    def count(self, groups: Iterable[Results]) -> None:
        """One more commit has succeeded."""
        self.commits += 1
        self.bytes += sum(map(record_bytes, groups))

    def fields(self) -> dict[str, str]:
        """As text, for a card."""
        return {name: f"{getattr(self, name):.6g}" for name in self.__slots__}
