"""The commit protocol in every order of events that its model knows: `docs/proof-model.md`."""

from dataclasses import replace

import pytest

from tests.model.checker import Checker
from tests.model.protocol import Protocol
from tests.model.world import MUTATIONS

#: What is looked at in full. Each leaves out what the others have, to stay small.
SIZES = {
    "power cuts": Protocol(workers=2, items=1, power=True),
    "queue, leases and lock": Protocol(workers=2, items=1, redis=True),
    "two items": Protocol(workers=2, items=2),
    "three workers": Protocol(workers=3, items=1),
}
#: The smallest size in which a part is missed; three workers for the others.
MISSED_BY = {
    "done before sync": SIZES["power cuts"],
    "ack before sync": SIZES["power cuts"],
    "no sync on take-over": SIZES["power cuts"],
    "cut not synced": SIZES["power cuts"],
    "no reconciler": Protocol(workers=1, items=1, redis=True),
    "lease as the only guard": SIZES["queue, leases and lock"],
}


@pytest.mark.parametrize("size", SIZES)
def test_every_promise_holds_in_every_reachable_state(size: str) -> None:
    """Kills, stops, expired leases, a Redis that forgets, batches that come twice, power cuts; in any order.
    And from every state a way without faults leads to the end: everything settled once, and all quiet."""
    report = Checker(SIZES[size]).check()

    print(f"{size}: {report.states} states, {report.steps} steps")
    assert report.broken == "", report.trace
    assert report.states > 1000


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_protocol_without_one_of_its_parts_breaks_a_promise(mutation: str) -> None:
    """Every part is needed: without it the model says in the fewest steps what goes wrong."""
    whole = MISSED_BY.get(mutation, SIZES["three workers"])

    report = Checker(replace(whole, broken=mutation)).check()

    print(f"without it ({mutation}), after {report.length} steps: {report.trace}")
    assert report.broken
