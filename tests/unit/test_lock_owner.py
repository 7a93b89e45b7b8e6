"""The process that has an output's fence: what it leaves about itself, and what a person reads about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from sheaf.output.index.lock_owner import NAME_LENGTH, LockOwner
from tests.console import wait_until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_it_names_this_process() -> None:
    """And comes back as the same from the note, in which it is JSON."""
    mine = LockOwner.myself("worker-1")

    assert mine.name == f"worker-1 (pid {os.getpid()}, host {mine.host})"
    assert 0 <= mine.held_s < 60
    assert mine.makes_sense
    assert LockOwner(**json.loads(json.dumps(asdict(mine)))) == mine
    assert len(LockOwner.myself("x" * 1000).who) == NAME_LENGTH


@pytest.mark.parametrize(
    ("field", "value"),
    [("who", 7), ("host", None), ("pid", -1), ("pid", 2**23), ("pid", True), ("since", "x"), ("taken", float("inf"))],
)
def test_what_a_disk_has_changed_makes_no_sense(field: str, value: object) -> None:
    assert not LockOwner(**{**asdict(LockOwner.myself("w")), field: value}).makes_sense


def test_a_process_that_is_stopped_is_to_be_killed_or_continued(child: subprocess.Popen[bytes]) -> None:
    """One that runs is not: its disk may be slow."""
    owner = replace(LockOwner.myself("w"), pid=child.pid)
    assert "its disk may be slow" in owner.advice

    os.kill(child.pid, signal.SIGSTOP)
    wait_until(lambda: "it is stopped" in owner.advice, 60, "it is stopped")

    assert f"kill -9 {child.pid}" in owner.advice
    assert f"kill -CONT {child.pid}" in owner.advice
    assert owner.describe().endswith(owner.advice)


def test_of_a_process_in_another_container_its_state_is_not_known() -> None:
    """The same pid may be another process here."""
    owner = replace(LockOwner.myself("w"), space="pid:[1]", host="5d2c")
    assert "docker unpause 5d2c" in owner.advice
