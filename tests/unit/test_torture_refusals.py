"""Who decides over the system calls of others goes on, whatever becomes of those it is to decide over."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.chaos.refusals import Refusals, Rule, available


@pytest.fixture
def refusals(tmp_path: Path) -> Iterator[Refusals]:
    if why := available():
        pytest.skip(why)
    refusals = Refusals(tmp_path, ["mkdir"])
    yield refusals
    refusals.close()


def connect(refusals: Refusals) -> socket.socket:
    """Do the first step of a process that is to be decided over."""
    address = refusals.command("", [])[4]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


def made(refusals: Refusals, folder: Path) -> str:
    """Have a held process make a folder; return what came of it."""
    refusals.rule(Rule(errno.ENOSPC, ("mkdir",), folder.name))
    program = f"import os, signal; signal.alarm(20); os.mkdir({str(folder)!r})"
    done = subprocess.run(
        refusals.command("who", [sys.executable, "-c", program]), capture_output=True, text=True, timeout=30
    )
    return done.stderr


def test_a_process_that_is_killed_before_it_could_say_who_it_is(refusals: Refusals, tmp_path: Path) -> None:
    connect(refusals).close()

    assert "No space left on device" in made(refusals, tmp_path / "new")


def test_a_process_that_is_stopped_before_it_could_say_who_it_is(refusals: Refusals, tmp_path: Path) -> None:
    with connect(refusals):
        assert "No space left on device" in made(refusals, tmp_path / "new")
