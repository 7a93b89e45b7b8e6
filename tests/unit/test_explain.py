"""What a worker says of its own choices."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sheaf.core.settings import Settings
from sheaf_worker.commit.stats import CommitStats
from sheaf_worker.explain import explain
from sheaf_worker.pool.pool import Pool


class ChoosingPool(Pool):
    """A pool that was not started, whose children say what they have chosen."""

    said: tuple[tuple[str, str, str], ...] = ()

    @property
    def choices(self) -> list[tuple[str, str, str]]:
        return list(self.said)


@pytest.fixture
def pool() -> Iterator[ChoosingPool]:
    pool = ChoosingPool(3)
    yield pool
    pool.close(0)


def said(
    pool: Pool, cores: int = 0, neighbours: int = 1, rate: float = 0.0, stats: CommitStats | None = None
) -> dict[str, tuple[str, str]]:
    """Name -> value and reason."""
    choices = json.loads(explain(Settings(), pool, cores, neighbours, rate, stats or CommitStats()))
    assert len({name for name, _, _ in choices}) == len(choices)
    return {name: (value, why) for name, value, why in choices}


@pytest.mark.parametrize(
    ("cores", "neighbours", "why"),
    [
        (0, 1, "SHEAF_POOL_SIZE says so"),
        (4, 1, "4 usable cores, and no other worker on this host"),
        (4, 3, "4 usable cores, shared by 3 workers of this host"),
    ],
)
def test_why_there_are_so_many_processes(pool: ChoosingPool, cores: int, neighbours: int, why: str) -> None:
    assert said(pool, cores, neighbours) == {"processes": ("3", why)}


def test_one_child_speaks_for_all(pool: ChoosingPool) -> None:
    """They choose much the same: each choice is said once, the first child's."""
    pool.said = (("connections", "32", "first"), ("connections", "64", "second"), ("window", "8", "as wanted"))

    found = said(pool)

    assert (found["connections"], found["window"]) == (("32", "first"), ("8", "as wanted"))


def test_how_much_is_claimed_ahead_follows_the_rate(pool: ChoosingPool) -> None:
    value, why = said(pool, rate=3000.0)["items ahead of the pool"]

    assert value == "1,500"
    assert "0.5 s of work at 3,000 items/s" in why


def test_how_large_commits_are_and_how_long_they_wait(pool: ChoosingPool) -> None:
    stats = CommitStats(commits=4, bytes=4 << 20, lock_s=0.01, fence_s=0.02, write_s=0.05)

    value, why = said(pool, stats=stats)["commit"]

    assert value == "1.0 MB" or "1." in value
    assert "20.0 ms each on average, 38 % of it waiting for others" in why


def test_commits_that_took_no_time_waited_for_nobody(pool: ChoosingPool) -> None:
    assert "0 % of it waiting" in said(pool, stats=CommitStats(commits=1))["commit"][1]
