"""A worker that stops itself (SIGSTOP) in mid-commit: `python stopping_worker.py FLAG`, once FLAG exists."""

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from sheaf.output.commit.data_file import OutputFile
from sheaf_worker.__main__ import main

FLAG = Path(sys.argv[1])
append = OutputFile.append


def append_and_stop(
    self: OutputFile, buffers: Sequence[bytes | memoryview], step: Callable[[str], None], *, to_be_synced: bool
) -> None:
    append(self, buffers, step, to_be_synced=to_be_synced)
    if FLAG.exists():
        FLAG.unlink()
        # This thread and no other: one that is asleep would stop us all later, when the commit is over.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


OutputFile.append = append_and_stop  # type: ignore[method-assign]
main()
