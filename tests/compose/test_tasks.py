"""The users' own functions, in the stack."""

from __future__ import annotations

import pytest

from tests.compose.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def test_a_function_of_the_tasks_folder_is_run_by_the_workers(stack: Stack) -> None:
    """Mounted into the producer, which looks at it, and the workers, which run it; the run says by which version."""
    lines = "".join(f"{'word ' * number}\n" for number in range(1, 200))

    done = stack.producer("map", "sample:word_count", "-", "-o", "words.csv", given=lines)

    assert "199 items in /data/words.csv" in done.stdout
    assert "OK" in stack.producer("verify", "words.csv").stdout
    counted = stack.compose("exec", "-T", "worker", "cat", "/data/words.csv").stdout.splitlines()
    assert sorted(int(line.rpartition(",")[2]) for line in counted[-199:]) == list(range(1, 200))
    assert ": sample.py" in stack.producer("status", "last").stdout
