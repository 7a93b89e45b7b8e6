"""How the end of a child is explained."""

from __future__ import annotations

import signal

import pytest

from sheaf_worker.wire.exit_codes import FILES_USED_UP, LACKING, PIPE_LOST, explain_exit


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [
        (None, "process died"),
        (3, "process ended in mid-work with exit status 3 (the code it ran, or a library, called exit)"),
        (PIPE_LOST, "process was ended: the code it ran closed, or wrote to, the pipe to its worker"),
        (FILES_USED_UP, "process was ended: all the files that it may have open were open"),
        (LACKING, "process was ended: the system refused"),
        (-signal.SIGKILL, "process died, signal 9 (SIGKILL): out of memory"),
        (-signal.SIGSEGV, "process died, signal 11 (SIGSEGV): a crash in native code"),
        (-signal.SIGUSR1, "process died, signal 10 (SIGUSR1)"),
        (-999, "process died, signal 999"),
    ],
)
def test_an_exit_status_is_explained(exit_code: int | None, text: str) -> None:
    assert explain_exit(exit_code).startswith(text)
