"""A process of the pool and what connects the worker with it: pipes, shared memory, its end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

from sheaf.core.logs import STDERR, Sink
from sheaf_worker.child import main as child
from sheaf_worker.pool.stdout import ChildStdout
from sheaf_worker.wire.channel import Channel
from sheaf_worker.wire.ring import Memory, RingReader
from sheaf_worker.wire.slots import SharedSlots, SlotReader, new_slots

#: Lines of /proc/PID/status with private memory, in KiB (docs/decisions/0026).
_PRIVATE_MEMORY = re.compile(rb"^(?:RssAnon|VmSwap):\s*(\d+) kB$", re.MULTILINE)
_context = multiprocessing.get_context("spawn")


class ChildProcess:
    """Start a process. Only in the pool's thread: the kernel ends a child with the *thread* that forked it."""

    def __init__(
        self,
        name: str,
        tasks_dir: Path | None,
        ring_bytes: int,
        task_modules: Sequence[str] = (),
        stdout: Sink | None = None,
    ) -> None:
        shared = new_slots()
        self.slots = SlotReader(shared)
        self.ring, memory = RingReader.create(ring_bytes)
        self.channel, printed = self._spawn(name, shared, memory, tasks_dir, task_modules)
        self.pid = self._process.pid or 0
        self.stdout = ChildStdout(printed, self.pid, stdout or Sink(STDERR))
        #: Becomes readable when the process has ended, even if its own children keep the pipes open.
        self.sentinel = self._open_sentinel()

    def _spawn(
        self, name: str, shared: SharedSlots, memory: Memory, tasks_dir: Path | None, task_modules: Sequence[str]
    ) -> tuple[Channel, Connection]:
        """Start the process; return our ends of its pipes."""
        ours, theirs = _context.Pipe(duplex=True)
        output, printed = _context.Pipe(duplex=False)
        ends = child.Ends(theirs, printed, shared, memory)
        self._process = _context.Process(
            target=child.main, args=(ends, tasks_dir, tuple(task_modules), os.getpid()), name=name
        )
        try:
            with _main_module_hidden():
                self._process.start()
        except BaseException:
            ours.close()
            output.close()
            raise
        finally:
            theirs.close()
            printed.close()
            memory.close_descriptor()
        return Channel(ours), output

    def _open_sentinel(self) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError:
            # A kernel or a sandbox without pidfd: this one stays open in whatever the child has forked, too.
            return os.dup(self._process.sentinel)

    def kill(self) -> None:
        """Kill the process and its process group. Its end is noticed like any other."""
        # The pid stays reserved until the process is reaped, so no other process can be hit.
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self.pid, signal.SIGKILL)

    def reap(self) -> int | None:
        """After its end: kill what it left running and release everything; return the exit code."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join()
        exit_code = self._process.exitcode
        self._process.close()
        os.close(self.sentinel)
        self.channel.close()
        self.stdout.close()
        return exit_code

    def private_bytes(self) -> int:
        """Private memory, resident or swapped out. Mapped files do not count, as their pages are dropped when memory is
        short; nor does shared memory such as the ring.
        """
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return 0  # it has just ended
        return sum(map(int, _PRIVATE_MEMORY.findall(status))) << 10

    def starved_s(self) -> float:
        """Seconds for which it was runnable and no processor was free, as far as the kernel reports it."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep `multiprocessing` from importing the worker's main script, and with it Redis and RQ, into the child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
