"""A container is paused while it holds the fence: correctness waits, and it is reported for whom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.compose.paused import pause_holder, quarantine
from tests.compose.stack import WORKERS, Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

#: Seconds: the paused worker has the lock in Redis for 10 s; who gets it then waits for the fence, and says so after 5.
PAUSE_S = 18.0


def test_a_paused_container_that_holds_the_fence_is_named_and_costs_nothing(stack: Stack, tmp_path: Path) -> None:
    """`docker pause` in mid-commit: nothing is committed meanwhile; `status`, and the log of who waits, name the
    container and say what to do; after `docker unpause` all goes on, and each page is in the output once."""
    seen = pause_holder(stack, "paused", 3000, PAUSE_S)

    assert seen.committed_between(seen.began, seen.ended) == (0, 0)
    named = rf"{seen.paused}-\w+ \(pid \d+, host {seen.paused}\) has held the index's write transaction for \d+ s"
    advice = f"docker unpause {seen.paused}, or docker kill {seen.paused}"
    blocked = [line for line in seen.status.splitlines() if line.startswith("blocked")]
    assert blocked and re.search(named, blocked[0]) and advice in blocked[0], seen.status
    assert any(re.search(named, text) and advice in text for _, text in seen.blockers()), seen.logs
    assert max(seen.waits("got the output's fence after a long wait"), default=0.0) >= 5.0, seen.logs
    assert seen.workers == WORKERS
    assert seen.resumed_after_s is not None
    quarantine(seen, stack.fetch(seen.output, tmp_path))
    assert (seen.lost, seen.doubled, seen.torn) == (0, 0, 0)
