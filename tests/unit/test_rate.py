"""How fast a worker thinks it is: what it takes ahead follows from that."""

from __future__ import annotations

import pytest

from sheaf_worker.claim import throughput as rate_module


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment, which a test moves on."""
    moment = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    return moment


def test_the_speed_of_many_items_is_known_soon(now: list[float]) -> None:
    """At the beginning of a large run, however long the worker was idle before; and forgotten when nothing comes."""
    rate = rate_module.Throughput()
    now[0] += 60.0
    for _ in range(6):
        now[0] += 1 / 64
        rate.add(1000)

    assert 60_000 < rate.per_s < 65_000
    now[0] += 1.0
    assert rate.now(at_once=2) <= 2.0


def test_what_comes_singly_is_not_taken_ahead(now: list[float]) -> None:
    """Two calls in quick succession after a pause are no reason to keep the next ones from an idle worker."""
    rate = rate_module.Throughput()
    for _ in range(20):
        now[0] += 0.6
        for _ in range(2):
            now[0] += 0.005
            rate.add(1)
    assert rate.per_s < 5


def test_a_burst_is_forgotten_after_a_pause(now: list[float]) -> None:
    """What was fast a second ago says nothing about the call that comes now."""
    rate = rate_module.Throughput()
    for _ in range(10):
        now[0] += 0.05
        rate.add(200)
    assert rate.per_s > 2000

    now[0] += 1.5
    rate.add(1)
    assert rate.per_s < 200
    now[0] += 1.5
    rate.add(1)
    assert rate.per_s < 2
