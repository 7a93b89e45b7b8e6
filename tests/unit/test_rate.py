"""How fast a worker thinks it is: what it takes ahead follows from that."""

from __future__ import annotations

from pytest import MonkeyPatch

from sheaf_worker import taker


def test_a_speed_is_known_soon_after_there_is_something_to_do(monkeypatch: MonkeyPatch) -> None:
    """What lay idle before does not count; from then on it is smoothed over longer and longer rounds."""
    now = [100.0]
    monkeypatch.setattr(taker.time, "monotonic", lambda: now[0])
    rate = taker.Rate()
    now[0] += 60.0
    rate.begin()
    for _ in range(4):
        now[0] += 0.005
        rate.add(50)
    assert 9_000 < rate.per_s < 11_000

    now[0] += 1.0
    assert rate.now(at_once=2) <= 2.0
    rate.add(1000)
    assert 5_000 < rate.per_s < 6_000
