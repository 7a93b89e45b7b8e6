"""Processes that we started are distinguished from what has their pid later: a process, or a thread of one."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from sheaf.core.pidfd import open_process
from sheaf.embedded import supervisor
from sheaf.embedded.processes import ProcessId, identify, is_alive, send_signal, stop


@pytest.fixture
def thread_id() -> Iterator[int]:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert thread.native_id is not None
    yield thread.native_id
    over.set()
    thread.join()


def test_a_pid_that_is_a_threads_by_now_is_nobodys(thread_id: int) -> None:
    """A cluster whose folder lay about for long is started whatever has become of its pids."""
    gone = ProcessId(thread_id, "an earlier boot/1")

    assert not is_alive(gone)
    assert not send_signal(gone, signal.SIGTERM)
    stop([gone], 1.0)
    with pytest.raises(ProcessLookupError):
        open_process(thread_id)
    # A descriptor that says at once that its process has ended.
    with open(supervisor._open_process(thread_id), "rb") as ended:
        assert ended.read() == b""


def test_only_the_process_that_was_started_is_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        found = identify(process.pid)
        assert found is not None

        assert not send_signal(ProcessId(process.pid, "an earlier boot/1"), signal.SIGKILL)
        assert process.poll() is None

        stop([found], 10.0)
        assert process.wait(60) == -signal.SIGTERM
