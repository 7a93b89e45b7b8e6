"""Exit statuses of children, and their explanations for people."""

from __future__ import annotations

import signal

#: What usually sends a process these signals.
_USUAL_CAUSE = {
    signal.SIGKILL: "out of memory (the kernel kills the largest process), or killed by hand",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGBUS: "a crash in native code, or a file that shrank while it was mapped",
    signal.SIGABRT: "a library in native code gave up",
    signal.SIGFPE: "a division by zero in native code",
    signal.SIGILL: "native code that was built for another processor",
    signal.SIGXCPU: "its limit of processor time is used up",
    signal.SIGSYS: "a system call that this container forbids",
}


#: The exit status of a child that finds its end of the pipe broken.
PIPE_LOST = 113
PIPE_LOST_TEXT = "process was ended: the code it ran closed, or wrote to, the pipe to its worker"
UNRESPONSIVE_TEXT = "process was killed: it had not begun what it was given, and did not answer any more"
#: The exit status of a child that has reached its limit of open files.
FILES_USED_UP = 114
#: The exit status of a child to which the system refused what it needs to start. It has reported what that was.
LACKING = 115
_OUR_STATUSES = {
    PIPE_LOST: PIPE_LOST_TEXT,
    FILES_USED_UP: "process was ended: all the files that it may have open were open; does the task close what it "
    "opens?",
    LACKING: "process was ended: the system refused what it needs to start",
}


def explain_exit(exit_code: int | None) -> str:
    """Say how a process ended. `exit_code` is negative for a signal, as `multiprocessing` has it."""
    if exit_code is None:
        return "process died"
    if exit_code in _OUR_STATUSES:
        return _OUR_STATUSES[exit_code]
    if exit_code >= 0:
        return f"process ended in mid-work with exit status {exit_code} (the code it ran, or a library, called exit)"
    try:
        number = signal.Signals(-exit_code)
    except ValueError:
        return f"process died, signal {-exit_code}"
    cause = _USUAL_CAUSE.get(number)
    return f"process died, signal {number.value} ({number.name})" + (f": {cause}" if cause else "")
