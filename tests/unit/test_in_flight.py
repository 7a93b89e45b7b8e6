"""What a worker holds: a batch is finished when its last open item is settled, and not before."""

from __future__ import annotations

from pathlib import Path

from sheaf.run.items import Bundle, Done
from sheaf.run.run import Run
from sheaf.run.sessions import session_of
from sheaf_worker.claim.in_flight import InFlight, InFlightBatch
from tests.runs import a_manifest


def a_run(name: str = "run-1", items: int = 10, batch_size: int = 4) -> Run:
    return Run(Path("/nowhere"), a_manifest(name, items, batch_size=batch_size, session=session_of(name)))


def holding(run: Run, *numbers: int) -> InFlight:
    in_flight = InFlight()
    for number in numbers:
        batch = run.manifest.batch(number)
        in_flight.add(InFlightBatch.of(batch, run, range(batch.first, batch.end)))
    return in_flight


def done(*indexes: int) -> list[Done]:
    return [Done(index, b"") for index in indexes]


def test_a_batch_is_let_go_of_with_its_last_item() -> None:
    """Items settle in any order, from several batches at once, some of them twice."""
    run = a_run()
    in_flight = holding(run, 0, 1, 2)

    assert in_flight.settle(run, done(9, 0, 5)) == []
    assert in_flight.settle(run, done(8, 8, 9, 3)) == ["run-1_2"]
    assert in_flight.settle(run, done(1, 2, 7)) == ["run-1_0"]
    assert in_flight.ids() == ["run-1_1"]


def test_items_of_batches_that_are_not_held_are_passed_over() -> None:
    """A late result of a batch that was dropped meanwhile finishes nothing."""
    run = a_run()
    in_flight = holding(run, 0)

    assert in_flight.settle(run, done(4, 5, 6, 7)) == []
    assert in_flight.has("run-1_0")


def test_dropping_a_run_leaves_the_others() -> None:
    """Cancelled or refused: its batches are returned, so that their leases can be given back."""
    first, second = a_run("run-1"), a_run("run-2")
    in_flight = holding(first, 0, 1)
    in_flight.add(InFlightBatch.of(second.manifest.batch(0), second, range(4)))

    assert sorted(in_flight.drop_run("run-1")) == ["run-1_0", "run-1_1"]
    assert in_flight.run("run-1") is None
    assert in_flight.run("run-2") is second
    assert in_flight.drop_all() == ["run-2_0"]
    assert len(in_flight) == 0


def test_bundles_settle_as_their_items_do() -> None:
    """Consecutive ones, and those with gaps."""
    run = a_run()
    in_flight = holding(run, 0, 1, 2)

    assert in_flight.settle(run, [Bundle(range(1, 9), [0] * 8, b""), *done(9)]) == ["run-1_1", "run-1_2"]
    assert in_flight.settle(run, [Bundle([0, 5], [0, 0], b"")]) == ["run-1_0"]
