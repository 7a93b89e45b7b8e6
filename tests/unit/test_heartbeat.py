"""What a heartbeat renews and publishes, and what it does when Redis or the worker is not well."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.errors import RedisUnavailable
from sheaf.core.settings import Settings
from sheaf_worker.claim.context import WorkerContext
from sheaf_worker.claim.heartbeat import Heartbeat


class Registry:
    def __init__(self) -> None:
        self.entries: list[Mapping[str, str]] = []
        self.left: list[str] = []
        self.down = False

    def announce(self, worker: str, fields: Mapping[str, str], ttl_s: float) -> None:
        assert (worker, ttl_s >= 120) == ("worker-1-ab", True)
        self.entries.append(fields)

    def workers(self) -> list[str]:
        return ["worker-1", "worker-2"]

    def leave(self, worker: str) -> None:
        if self.down:
            raise RedisUnavailable("Redis is away")
        self.left.append(worker)


class Queue:
    """What of a queue a heartbeat uses."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.renewed: list[list[str]] = []
        self.lost: list[str] = []

    def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> list[str]:
        if self.registry.down:
            raise RedisUnavailable("Redis is away")
        self.renewed.append(list(ids))
        return self.lost


class Batches:
    def ids(self) -> list[str]:
        return ["run-1_0", "run-1_1"]


class Bed:
    def __init__(self, health_file: Path) -> None:
        self.queue, self.well = Queue(), True
        queue: Any = self.queue
        batches: Any = Batches()
        nothing: Any = None
        settings = Settings(health_file=health_file, heartbeat_s=0.01)
        self.seen: list[object] = []
        context = WorkerContext("worker-1-ab", "worker-1", settings, nothing, queue, batches)
        self.heartbeat = Heartbeat(context, lambda: {"state": "busy"}, lambda: self.well, self.seen.append)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path / "health")


def test_a_beat_renews_publishes_and_shows_who_is_there(bed: Bed, tmp_path: Path) -> None:
    bed.heartbeat._beat()
    assert bed.queue.renewed == [["run-1_0", "run-1_1"]]
    assert bed.queue.registry.entries == [{"state": "busy"}]
    assert bed.seen == [["worker-1", "worker-2"]]
    assert (tmp_path / "health").exists()


def test_without_redis_the_health_file_is_touched_all_the_same(
    bed: Bed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bed.queue.registry.down = True
    with caplog.at_level(logging.DEBUG):
        bed.heartbeat._beat()
    assert (tmp_path / "health").exists()
    assert bed.queue.registry.entries == []
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_batches_that_others_have_taken_over_are_logged(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.queue.lost = ["run-1_1"]
    bed.heartbeat._beat()
    (record,) = caplog.records
    assert json.dumps(vars(record)["batches"]) == '["run-1_1"]'


def test_it_stops_for_good_and_deregisters(bed: Bed) -> None:
    bed.heartbeat.start()
    bed.heartbeat.stop(within_s=60)
    assert not bed.heartbeat.is_alive()
    assert bed.queue.registry.left == ["worker-1-ab"]


def test_a_worker_whose_loop_hangs_renews_nothing(bed: Bed) -> None:
    bed.well = False
    bed.heartbeat.start()
    bed.heartbeat.stop(within_s=60)
    assert bed.queue.renewed == []


def test_an_entry_that_cannot_be_removed_is_logged(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.queue.registry.down = True
    bed.well = False
    bed.heartbeat.start()
    bed.heartbeat.stop(within_s=60)
    assert "could not deregister worker; its entry will expire" in caplog.text
