"""A repair is killed before each of its system calls; the next one ends it, and keeps all that is whole."""

from typing import Any

import pytest

from tests.chaos.own_process import run_in_own_process
from tests.chaos.tracer import NAMES

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not NAMES, reason="the tracer knows the system calls of x86_64 and aarch64 only"),
]


def kill_everywhere(scene: str, mutation: str = "") -> dict[str, Any]:
    return run_in_own_process("killed_repairs", scene, mutation)


@pytest.mark.parametrize(("scene", "kills"), [("middle", 50), ("end", 50), ("index", 100)])
def test_a_repair_killed_anywhere_is_ended_by_the_next_one(scene: str, kills: int) -> None:
    """A bit in a commit between whole ones, one in the last commit, an index that is gone."""
    found = kill_everywhere(scene)

    assert found["problems"] == []
    assert found["kills"] >= kills


def test_without_what_was_put_aside_whole_commits_would_be_done_again() -> None:
    """The check can fail: between the new file and the index that goes with it the old file is needed."""
    problems = kill_everywhere("middle", "nothing is taken from what was put aside")["problems"]

    assert any("items are open, not 2" in problem for problem in problems)
