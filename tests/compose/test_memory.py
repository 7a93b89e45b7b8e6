"""An item that fills the container's memory: the kernel takes the pool's process, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compose.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

#: Fills memory beyond the container's 1 GiB; gives up at 2, before it can harm a machine whose limits do not hold.
GREEDY = """
def eat(text):
    held = []
    while text == "poison" and len(held) < 512:
        held.append(b"x" * (4 << 20))
    return len(held)
"""


def lives(stack: Stack) -> dict[str, Any]:
    """When each worker's container was started last."""
    return {worker["Id"]: worker["State"]["StartedAt"] for worker in stack.containers("worker")}


def test_an_item_that_fills_the_containers_memory_fails_alone(stack: Stack) -> None:
    """Without any setting: it is tried alone and fails with a reason; all others succeed, and no worker ends."""
    (stack.lists / "tasks/greedy.py").write_text(GREEDY)
    items = "".join("poison\n" if number == 30 else f"item {number}\n" for number in range(60))
    before = lives(stack)

    stack.producer("map", "greedy:eat", "-", "-o", "greedy.jsonl", "--attempts", "2", given=items, check=False)

    assert "60 items: 59 done, 1 failed, 0 missing" in stack.producer("verify", "greedy.jsonl").stdout
    failures = stack.producer("failures", "last").stdout
    assert "signal 9 (SIGKILL): out of memory" in failures, failures
    assert lives(stack) == before
