"""Workers that cannot be seen are not called absent: which sentence is said when no worker shows a sign of life."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sheaf.broker.worker_registry import WorkerInfo
from sheaf.core.settings import Settings
from sheaf.embedded.processes import ProcessId, identify
from sheaf.embedded.state import ClusterState, Places
from sheaf.view.presence import absence, cluster_news, living_workers

DEAD = ProcessId(os.getpid(), "an earlier boot/1")
SILENT = WorkerInfo("w-1", {"label": "w"}, silent_s=60.0)
WELL = WorkerInfo("w-2", {"label": "w"}, silent_s=1.0)


class Asked:
    """A worker registry that knows whether Redis takes changes."""

    def __init__(self, refusal: str | None = None) -> None:
        self._refusal = refusal

    def refusal(self) -> str | None:
        return self._refusal


def own() -> ProcessId:
    found = identify(os.getpid())
    assert found is not None
    return found


def cluster(
    data: Path, *, supervisor: ProcessId = DEAD, worker: ProcessId | None = None, troubles: tuple[str, ...] = ()
) -> Settings:
    """An embedded cluster, as its supervisor has noted it."""
    places = Places(data)
    places.make()
    processes = {"redis": own()} | ({"worker-1": worker} if worker is not None else {})
    ClusterState(f"unix://{data}/x.sock", supervisor, processes, troubles).write(places)
    return Settings(data_dir=data)


def said(settings: Settings, *entries: WorkerInfo, refusal: str | None = None) -> str | None:
    registry: Any = Asked(refusal)
    return absence(settings, registry, entries)


def test_who_shows_a_sign_of_life_is_not_absent(tmp_path: Path) -> None:
    """Whatever else is wrong, and however many others are silent."""
    assert said(Settings(data_dir=tmp_path), WELL) is None
    assert said(cluster(tmp_path, supervisor=own(), troubles=("x",)), SILENT, WELL, refusal="read-only") is None


def test_that_there_are_none_is_said_only_when_nothing_is_known_of_any(tmp_path: Path) -> None:
    """No entry, no process, and a Redis that would show them."""
    for settings in (Settings(data_dir=tmp_path), cluster(tmp_path), cluster(tmp_path, worker=DEAD)):
        assert "no workers are running; start some with `sheaf up`" in str(said(settings))


def test_silent_ones_are_called_silent(tmp_path: Path) -> None:
    assert str(said(Settings(data_dir=tmp_path), SILENT)).startswith("no worker gives a sign of life")


def test_living_processes_are_named(tmp_path: Path) -> None:
    """They have just been started, or Redis has; where to look is said."""
    settings = cluster(tmp_path, worker=own())

    for entries in ((), (SILENT,)):
        text = str(said(settings, *entries))
        assert text.startswith(f"worker-1 (pid {os.getpid()}) are alive, but not visible in Redis")
        assert "worker-*.log" in text


def test_a_redis_that_takes_no_changes_is_the_reason(tmp_path: Path) -> None:
    """Before anything is said of workers: their entries expire there even of live workers."""
    living = cluster(tmp_path, worker=own())
    assert said(living, refusal="the disk is full") == (
        f"worker-1 (pid {os.getpid()}) live, but cannot show it: the disk is full"
    )
    for entries in ((), (SILENT,)):
        found = said(Settings(data_dir=tmp_path / "none"), *entries, refusal="the disk is full")
        assert found == "whether workers live cannot be seen: the disk is full"


@pytest.mark.parametrize(("alive", "words"), [(True, "goes on trying: redis: no room"), (False, "no workers are")])
def test_what_a_living_supervisor_is_at_is_said(tmp_path: Path, alive: bool, words: str) -> None:
    """What a dead one wrote down last is no news."""
    settings = cluster(tmp_path, supervisor=own() if alive else DEAD, troubles=("redis: no room",))

    assert words in str(said(settings))
    assert cluster_news(settings) == (["redis: no room"] if alive else [])


def test_beside_a_redis_of_ones_own_no_embedded_cluster_counts(tmp_path: Path) -> None:
    """Its workers are others', whatever is in the data folder."""
    cluster(tmp_path, supervisor=own(), worker=own(), troubles=("x",))
    settings = Settings(data_dir=tmp_path, redis_url="redis://redis:6379")

    assert living_workers(settings) == []
    assert cluster_news(settings) == []
    assert str(said(settings)).startswith("no workers are running")
