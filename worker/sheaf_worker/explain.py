"""The choices that a worker has made, with reasons: a field of its entry, for `sheaf status --explain`."""

from __future__ import annotations

import json
from typing import NamedTuple

from sheaf.core.humanize import bytes_text
from sheaf.core.settings import Settings
from sheaf_worker.commit.stats import CommitStats
from sheaf_worker.pool.pool import Pool


class Choice(NamedTuple):
    """One decision."""

    name: str
    value: str
    why: str


def explain(settings: Settings, pool: Pool, cores: int, neighbours: int, rate: float, stats: CommitStats) -> str:
    """Return a worker's choices as JSON: a list of name, value and reason."""
    choices = [_pool_size(pool, cores, neighbours)]
    # Children of the same task make much the same choices; one of each is shown.
    choices += {name: Choice(name, value, why) for name, value, why in reversed(pool.choices)}.values()
    if rate:
        choices.append(
            Choice(
                "items ahead of the pool",
                f"{int(rate * settings.ahead_s):,}",
                f"{settings.ahead_s:g} s of work at {rate:,.0f} items/s; the rest is left to other workers",
            )
        )
    if stats.commits:
        choices.append(_commit_size(settings, stats))
    return json.dumps(choices)


def _pool_size(pool: Pool, cores: int, neighbours: int) -> Choice:
    if not cores:
        return Choice("processes", str(pool.size), "SHEAF_POOL_SIZE says so")
    others = f"shared by {neighbours} workers of this host" if neighbours > 1 else "and no other worker on this host"
    return Choice("processes", str(pool.size), f"{cores} usable cores, {others}")


def _commit_size(settings: Settings, stats: CommitStats) -> Choice:
    """A commit takes all results that came while the previous one was written, so it grows with the load."""
    waited_s = stats.lock_s + stats.fence_s
    spent_s = waited_s + stats.write_s
    return Choice(
        "commit",
        bytes_text(stats.bytes // stats.commits),
        f"what comes in {settings.commit_s:g} s, {settings.commit_mb:g} MiB, or during the commit before it; "
        f"{spent_s / stats.commits * 1000:.1f} ms each on average, {_percent(waited_s, spent_s)} of "
        "it waiting for others",
    )


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
