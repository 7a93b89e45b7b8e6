"""When a worker's recovery thread looks at the volume: in time, and on request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from sheaf.broker.queue import BatchQueue
from sheaf.core.settings import Settings
from sheaf_worker.claim import recovery as recovery_module
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.in_flight import InFlight
from sheaf_worker.claim.recovery import Recovery
from tests.console import wait_until


class Passes(Recovery):
    """Counts its passes, which queue as many batches as `queued` says."""

    queued = 0
    moments: list[float]

    def _pass(self) -> int:
        self.moments.append(time.monotonic())
        return self.queued


@pytest.fixture
def passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    monkeypatch.setattr(recovery_module, "FUTILE_S", 0.05)
    connection = redis.Redis()  # never asked
    settings = replace(Settings(data_dir=tmp_path), reconcile_s=600.0)
    recovery = Passes(
        WorkerContext("w-1", "w", settings, connection, BatchQueue(connection), InFlight()), lambda _: None
    )
    recovery.moments = []
    recovery.start()
    yield recovery
    recovery.stop()


def test_what_is_asked_for_after_a_pass_in_vain_is_done_soon(passes: Passes) -> None:
    """Another worker may have been at it, or there was nothing to queue yet: no reason to wait for ten minutes."""
    for number in (1, 2, 3):
        passes.call()
        wait_until(lambda number=number: len(passes.moments) == number, 60, "it looks again")  # type: ignore[misc]

    first, second, third = passes.moments
    assert second - first >= 0.05 and third - second >= 0.05, "but not at once: it may be in vain again"


def test_nobody_asks_and_it_is_not_time(passes: Passes) -> None:
    passes.call()
    wait_until(lambda: passes.moments, 60, "it looks")

    time.sleep(0.3)
    assert len(passes.moments) == 1
