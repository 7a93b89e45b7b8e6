"""How many items a child is sent ahead."""

from __future__ import annotations

import pytest

from sheaf_worker.pool.prefetch import AHEAD_S, MOST_ITEMS, Prefetch


def test_it_begins_with_one_and_grows_with_each_report_up_to_some_time_s_work() -> None:
    """The first items may have been easy: no child is sent thousands after one."""
    prefetch, targets = Prefetch(), []
    for _ in range(5):
        prefetch.learn(10, 10 * 0.0001)
        targets.append(prefetch.target)
    assert targets == [8, 64, 512, int(AHEAD_S / 0.0001), int(AHEAD_S / 0.0001)]


def test_it_shrinks_at_once_when_items_become_slow() -> None:
    prefetch = Prefetch(item_s=0.0001)
    assert prefetch.target > 1000
    prefetch.learn(1000, 0.1)
    prefetch.learn(1, 2.0)
    assert prefetch.target == 1


def test_a_report_counts_by_the_time_it_covers() -> None:
    """One that was sent off just before a slow item's end says little about the items."""
    prefetch = Prefetch()
    assert prefetch.learn(10, 1.0) == pytest.approx(0.1)
    assert prefetch.learn(10, 0.000001) == pytest.approx(0.1, rel=1e-3)
    assert prefetch.learn(10, 1.0) == pytest.approx(0.1, rel=1e-3)


def test_items_that_take_no_time_are_limited_too() -> None:
    prefetch = Prefetch()
    for _ in range(10):
        prefetch.learn(10, 0.0)
    assert prefetch.target == MOST_ITEMS


def test_a_task_that_has_asked_for_a_window_gets_it_whatever_is_left_or_learned() -> None:
    prefetch = Prefetch(window=16, item_s=5.0)
    prefetch.learn(1, 100.0)
    assert prefetch.missing(most=1, present=0) == 16
    assert prefetch.choice("load") == ("items ahead of a process", "16", "as the task load wants it")


def test_items_are_sent_when_half_are_missing() -> None:
    prefetch = Prefetch(window=10)
    assert [prefetch.missing(100, present) for present in (0, 5, 6, 10)] == [10, 5, 0, 0]
    assert prefetch.missing(100, -4) == 14, "those that its task has put aside do not count"


def test_near_the_end_of_a_run_it_gets_less_but_never_too_little() -> None:
    prefetch = Prefetch(item_s=AHEAD_S / 800)
    assert prefetch.target == 800
    assert [prefetch.missing(most, 0) for most in (5000, 400, 50, 0)] == [800, 400, 100, 100]
    assert Prefetch().missing(0, 0) == 1


def test_the_reason_that_is_shown() -> None:
    prefetch = Prefetch()
    assert prefetch.choice("load")[2] == "to begin with"
    prefetch.learn(1, 0.001)
    assert prefetch.choice("load") == ("items ahead of a process", "8", "0.15 s of work at 1,000 µs an item")
