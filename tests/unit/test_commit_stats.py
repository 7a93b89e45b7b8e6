"""Where a worker's commits spend their time, as text for the registry."""

from __future__ import annotations

from sheaf.run.items import Done
from sheaf_worker.commit.stats import CommitStats


def test_commits_and_bytes_are_counted_and_all_is_shown() -> None:
    stats = CommitStats()
    stats.count([[Done(0, b"abc")], [Done(1, b"de"), Done(2, b"")]])
    stats.count([[Done(3, b"f")]])
    stats.lock_s += 0.25
    assert stats.fields() == {"commits": "2", "bytes": "6", "lock_s": "0.25", "fence_s": "0", "write_s": "0"}
