"""How much a worker claims ahead of its pool."""

from __future__ import annotations

from typing import Any

import pytest

from sheaf_worker.claim import throughput
from sheaf_worker.claim.lookahead import NOTHING, Lookahead
from sheaf_worker.pool.backlog import Backlog
from tests.pool_child import RUN, block


class PoolState:
    """What of a pool counts here."""

    def __init__(self, size: int = 2, free: int = 0, parties: tuple[str, ...] = ()) -> None:
        self.size = self.at_once = size
        self.free_capacity = free
        self.parties = set(parties)
        self.paused = False
        self.backlog = Backlog()


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does 1000 items a second."""
    monkeypatch.setattr(throughput.Throughput, "now", lambda _self, _at_once: 1000.0)


def demand(pool: PoolState, lookahead: Lookahead | None = None, *, stalled: bool = False) -> Any:
    state: Any = pool
    return (lookahead or Lookahead(0.5)).demand(state, stalled=stalled)


def test_an_empty_pool_wants_anything_at_once() -> None:
    wanted = demand(PoolState(free=2))
    assert (dict(wanted.named), wanted.others, wanted.idle, wanted.urgent) == ({}, 4, 2, True)


def test_a_paused_pool_wants_nothing() -> None:
    pool = PoolState(free=2)
    pool.paused = True
    assert demand(pool) == NOTHING


@pytest.mark.usefixtures("steady")
def test_half_a_second_of_work_is_wanted_of_each_party_but_not_one_by_one() -> None:
    lookahead, pool = Lookahead(0.5), PoolState(parties=("run-1",))
    lookahead.add("run-1", 10)
    assert demand(pool, lookahead).named == {"run-1": 500}
    pool.backlog.add(RUN, block(*range(100)))
    assert demand(pool, lookahead).named == {"run-1": 400}
    pool.backlog.add(RUN, block(*range(100, 300)))
    wanted = demand(pool, lookahead)
    assert (wanted.named, wanted.urgent) == ({"run-1": 0}, False)


def test_of_a_served_party_with_nothing_waiting_one_item_is_asked_for_without_haste() -> None:
    """The queue may have something of it again."""
    wanted = demand(PoolState(parties=("run-1",)))
    assert (wanted.named, wanted.urgent) == ({"run-1": 1}, False)


def test_while_slow_items_hold_up_all_processes_no_new_party_is_asked_for() -> None:
    wanted = demand(PoolState(parties=("run-1",)), stalled=True)
    assert (wanted.others, wanted.idle, wanted.named) == (0, 0, {"run-1": 0})
    assert demand(PoolState(free=1), stalled=True).others > 0, "a process is free"


def test_items_that_wait_here_already_fill_what_is_free() -> None:
    pool = PoolState(free=2)
    pool.backlog.add(RUN, block(1, 2, 3))
    wanted = demand(pool)
    assert (wanted.idle, wanted.others) == (0, 3)


def test_only_so_many_parties_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sheaf_worker.claim.lookahead._KNOWN", 2)
    lookahead = Lookahead(0.5)
    for name in ("a", "b", "a", "c"):
        lookahead.add(name, 1)
    assert list(lookahead._rates) == ["a", "c"]
