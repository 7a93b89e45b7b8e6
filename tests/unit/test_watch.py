"""A process of a pool that does not come up is replaced; one that is only kept waiting by others is not."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from sheaf_worker.pool.child_handle import ChildHandle, State
from sheaf_worker.pool.watchdog import Watchdog


class Starting(SimpleNamespace):
    """A process that has not said a word since it was started."""

    def __init__(self, since_s: float, starved_s: float) -> None:
        since = time.monotonic() - since_s
        super().__init__(state=State.STARTING, since=since, hung_up=None, forgotten=None, outstanding={}, program=None)
        self.killed: list[str] = []
        self.kill, self.starved_s = self.killed.append, lambda: starved_s


@pytest.mark.parametrize(
    ("since_s", "starved_s", "killed"), [(55, 0, False), (65, 0, True), (65, 4, True), (65, 30, False), (95, 30, True)]
)
def test_time_without_a_processor_is_not_held_against_it(since_s: float, starved_s: float, killed: bool) -> None:
    """On a machine with far too much to do it would be killed and started anew for ever."""
    child: Any = Starting(since_s, starved_s)
    watch = Watchdog(0)
    watch.look([], time.monotonic(), watch_items=True)
    watch._awake = 0.0

    watch.look([child], time.monotonic(), watch_items=True)

    assert child.killed == (["unresponsive"] if killed else [])


def test_the_kernel_tells_how_long_that_was() -> None:
    """Of a process that runs; of one that has ended, nothing."""
    assert 0.0 <= ChildHandle.starved_s(SimpleNamespace(pid=os.getpid())) < 1e6  # type: ignore[arg-type]
    assert ChildHandle.starved_s(SimpleNamespace(pid=2**22 + 1)) == 0.0  # type: ignore[arg-type]
