"""What a worker holds: a batch is finished when its last open item is settled, and not before."""

from __future__ import annotations

from pathlib import Path

from sheaf.run.items import Bundle, Done
from sheaf.run.run import Manifest, Run
from sheaf_worker.claim.in_flight import Held, Holdings


def a_run(name: str = "run-1", items: int = 10, batch_size: int = 4) -> Run:
    manifest = Manifest(
        run=name,
        task="load",
        options={},
        output="pages.jsonl",
        items=items,
        batch_size=batch_size,
        fingerprint="",
        created="",
    )
    return Run(Path("/nowhere"), manifest)


def holding(run: Run, *numbers: int) -> Holdings:
    holdings = Holdings()
    for number in numbers:
        batch = run.manifest.batch(number)
        holdings.add(Held.of(batch, run, range(batch.first, batch.end)))
    return holdings


def done(*indexes: int) -> list[Done]:
    return [Done(index, b"") for index in indexes]


def test_a_batch_is_let_go_of_with_its_last_item() -> None:
    """Items settle in any order, from several batches at once, some of them twice."""
    run = a_run()
    holdings = holding(run, 0, 1, 2)

    assert holdings.settle(run, done(9, 0, 5)) == []
    assert holdings.settle(run, done(8, 8, 9, 3)) == ["run-1_2"]
    assert holdings.settle(run, done(1, 2, 7)) == ["run-1_0"]
    assert holdings.ids() == ["run-1_1"]


def test_items_of_batches_that_are_not_held_are_passed_over() -> None:
    """A late result of a batch that was dropped meanwhile finishes nothing."""
    run = a_run()
    holdings = holding(run, 0)

    assert holdings.settle(run, done(4, 5, 6, 7)) == []
    assert holdings.has("run-1_0")


def test_dropping_a_run_leaves_the_others() -> None:
    """Cancelled or refused: its batches are returned, so that their leases can be given back."""
    first, second = a_run("run-1"), a_run("run-2")
    holdings = holding(first, 0, 1)
    holdings.add(Held(second.manifest.batch(0), second, {0, 1, 2, 3}))

    assert sorted(holdings.drop_run("run-1")) == ["run-1_0", "run-1_1"]
    assert holdings.run("run-1") is None
    assert holdings.run("run-2") is second
    assert holdings.drop_all() == ["run-2_0"]
    assert len(holdings) == 0


def test_bundles_settle_as_their_items_do() -> None:
    """Consecutive ones, and those with gaps."""
    run = a_run()
    holdings = holding(run, 0, 1, 2)

    assert holdings.settle(run, [Bundle(range(1, 9), [0] * 8, b""), *done(9)]) == ["run-1_1", "run-1_2"]
    assert holdings.settle(run, [Bundle([0, 5], [0, 0], b"")]) == ["run-1_0"]
