"""What tasks print is passed on; the reader of the log never ends or holds up a worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sheaf.core.logs import Sink
from sheaf_worker.pool.stdout import ChildStdout


def printing(target: int) -> tuple[ChildStdout, Connection]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    return ChildStdout(ours, 1, Sink(target)), theirs


def test_what_was_printed_is_passed_on(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    prints, child = printing(log)

    os.write(child.fileno(), b"hello\n")
    assert prints.pass_on()
    child.close()

    assert not prints.pass_on()
    prints.close()
    assert (tmp_path / "log").read_bytes() == b"hello\n"


@pytest.mark.parametrize("device", ["/dev/full", "pipe without a reader", "pipe that is not read"])
def test_a_log_that_takes_nothing_costs_the_prints_only(device: str, caplog: pytest.LogCaptureFixture) -> None:
    """ENOSPC, EPIPE, a full pipe: the child goes on, and it is said how much is missing."""
    if device == "/dev/full":
        target = os.open(device, os.O_WRONLY)
    else:
        reading, target = os.pipe()
        if device == "pipe without a reader":
            os.close(reading)
    prints, child = printing(target)

    for _ in range(40):
        os.write(child.fileno(), b"z" * 4000)
        assert prints.pass_on()
    child.close()
    prints.close()

    (said,) = [record for record in caplog.records if record.message == "printed text could not be written"]
    assert 90_000 <= vars(said)["bytes"] <= 160_000


def test_a_pipe_that_breaks_ends_only_itself() -> None:
    """A descriptor that an item has closed, say."""
    prints, child = printing(os.open(os.devnull, os.O_WRONLY))
    os.close(prints.descriptor)

    assert not prints.pass_on()

    os.dup2(os.open(os.devnull, os.O_RDONLY), prints.descriptor)
    child.close()
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN, "or a reader that is gone would end the process"
