"""A process under the supervisor: when it counts as hung, and what becomes of one that cannot be started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.embedded.process import START_S, UNHEALTHY_S, Child, Command, status_text, stop_children


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    made = Child(
        "worker-1", Command(["sleep", "100"], dict(os.environ), tmp_path / "log", tmp_path, tmp_path / "health")
    )
    made.start()
    yield made
    stop_children([made], 5.0)


def test_one_that_leaves_its_health_file_alone_counts_as_hung(child: Child, tmp_path: Path) -> None:
    """After a minute, and another one to start in; touched, it is well again."""
    now = time.monotonic()
    assert child.hung_s(now) == 0
    assert child.hung_s(now + START_S + UNHEALTHY_S - 1) == 0
    assert child.hung_s(now + START_S + UNHEALTHY_S + 2) > UNHEALTHY_S
    os.utime(tmp_path / "health", (1, 1))
    assert child.hung_s(now + 1000) == 0
    assert child.hung_s(now + 1000 + UNHEALTHY_S + 1) > 0


def test_a_clock_that_is_set_makes_nobody_hung_or_well(child: Child, tmp_path: Path) -> None:
    """Only whether the file changes counts, not how old it says it is."""
    now = time.monotonic()
    os.utime(tmp_path / "health", (10, 10))
    assert child.hung_s(now + 1) == 0
    os.utime(tmp_path / "health", (2**31, 2**31))
    assert child.hung_s(now + 2 + UNHEALTHY_S) == 0
    os.utime(tmp_path / "health", (20, 20))
    assert child.hung_s(now + 2 + 2 * UNHEALTHY_S) == 0
    assert child.hung_s(now + 2 + 3 * UNHEALTHY_S) > 0


def test_who_could_not_touch_its_file_is_not_to_blame(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only file system, or a file that a cleaner has taken."""

    def refused(*_arguments: object, **_keywords: object) -> None:
        raise OSError(30, "Read-only file system")

    now = time.monotonic()
    monkeypatch.setattr(os, "utime", refused)
    assert child.hung_s(now + 1000) == 0
    monkeypatch.undo()
    (tmp_path / "health").unlink()
    assert child.hung_s(now + 2000) == 0
    assert (tmp_path / "health").exists()


def test_a_supervisor_that_was_held_up_itself_blames_nobody(child: Child) -> None:
    now = time.monotonic()
    child.forgive(now + 5000)

    assert child.hung_s(now + 5000 + UNHEALTHY_S - 1) == 0


def test_what_cannot_be_started_is_tried_again_and_said(tmp_path: Path) -> None:
    child = Child("redis", Command([str(tmp_path / "server")], dict(os.environ), tmp_path / "log", tmp_path))
    child.start()
    assert not child.running
    assert str(child.trouble).startswith("redis cannot be started: ")
    assert (child.start_in_s or 0) > 0

    (tmp_path / "server").write_text("#!/bin/sh\nexec sleep 100\n")
    (tmp_path / "server").chmod(0o755)
    deadline = time.monotonic() + 30
    while not child.running and time.monotonic() < deadline:
        child.keep_running()
        time.sleep(0.05)

    assert (child.running, child.trouble) == (True, None)
    stop_children([child], 5.0)
    assert not child.running


def test_a_log_that_cannot_be_opened_is_no_reason_not_to_run(tmp_path: Path) -> None:
    child = Child("redis", Command(["sleep", "100"], dict(os.environ), tmp_path / "no/folder/log", tmp_path))
    child.start()

    assert child.running
    stop_children([child], 5.0)


@pytest.mark.parametrize(("status", "text"), [(0, "status 0"), (-9, "signal 9 (SIGKILL)"), (-200, "signal 200")])
def test_how_a_process_ended_is_said(status: int, text: str) -> None:
    assert status_text(status) == text
