"""Failed attempts, and the bisection for an item that is not known."""

from __future__ import annotations

from sheaf_worker.pool.attempts import Attempts, Bisection


def test_failed_attempts_are_counted_per_item_until_it_is_settled() -> None:
    attempts = Attempts()
    assert [attempts.charge("a", 1), attempts.charge("a", 1), attempts.charge("a", 2), attempts.charge("b", 1)] == [
        *(1, 2, 1, 1)
    ]
    attempts.forget_all("a", range(2))
    assert [attempts.count("a", 1), attempts.count("a", 2), attempts.count("b", 1)] == [0, 1, 1]
    attempts.forget("a")
    assert [attempts.count("a", 2), attempts.count("b", 1)] == [0, 1]


def test_each_death_narrows_the_search_down_to_one_item() -> None:
    bisection = Bisection()
    assert bisection.limit("a") is None
    limits = []
    outstanding = 1000
    while outstanding > 1:
        bisection.narrow("a", outstanding)
        outstanding = bisection.limit("a") or 0
        limits.append(outstanding)
    assert limits == [125, 15, 1]
    assert bisection.limit("b") is bisection.limit(None) is None


def test_the_limit_ends_when_all_that_may_be_the_cause_is_done() -> None:
    bisection = Bisection()
    bisection.narrow("a", 80)
    bisection.narrow("a", 10)
    bisection.finished("a", 79)
    assert bisection.limit("a") == 1, "the cause may be the eightieth"
    bisection.finished("a", 1)
    assert bisection.limit("a") is None

    bisection.narrow("a", 80)
    bisection.forget("a")
    assert bisection.limit("a") is None
