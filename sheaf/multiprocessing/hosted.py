"""Starts processes on workers, and knows how they are: what `Process` is made of.

start() ──► volume: what to run, signed ──► Redis: it waits ──► a worker: runs it
handle  ◄── follower (one thread): state, exit code, what was printed ◄── Redis ◄──┘
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from sheaf.broker import keys
from sheaf.broker.program_processes import ProgramSteps, new_id
from sheaf.broker.wakeup import Notifier
from sheaf.core.errors import ClusterError
from sheaf.core.settings import Settings, own_environment
from sheaf.multiprocessing import code, folder
from sheaf.multiprocessing.code import Code
from sheaf.multiprocessing.place import here
from sheaf.multiprocessing.starts import Start
from sheaf.run.signatures import ClusterKey

#: Seconds between two looks at how processes are, if nothing tells; of waiting at once; and until the next try.
_LOOK_S, _LISTEN_S, _RETRY_S = 1.0, 1.0, 0.5
#: Processes that are asked for at once.
_AT_ONCE = 200
_STDOUT = b"1"


class Hosted:
    """A process that a worker runs, or will run. All of it is for any thread."""

    def __init__(self, hosting: Hosting, process: str, name: str) -> None:
        self.id = process
        self.name = name
        self._hosting = hosting
        self._changed = threading.Condition()
        self._entry: dict[str, Any] = {}
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        """The exit code, as soon as it is known here and all that the process printed was shown; else None."""
        return self._exit_code

    exitcode = property(poll)

    @property
    def pid(self) -> int | None:
        """The process's pid on its worker; None until it runs."""
        pid = self._entry.get("pid")
        return int(pid) if pid is not None else None

    @property
    def worker(self) -> str | None:
        """The worker that runs it; None while it waits for one."""
        return self._entry.get("worker")

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; return the exit code, or None if the time was over before."""
        with self._changed:
            self._changed.wait_for(lambda: self._exit_code is not None, timeout_s)
        return self._exit_code

    def wait_begun(self, timeout_s: float | None = None) -> bool:
        """Wait until it runs (or has ended); False if the time was over before."""
        with self._changed:
            return self._changed.wait_for(lambda: self._exit_code is not None or self.pid is not None, timeout_s)

    def terminate(self) -> None:
        """Send it SIGTERM; one that waits for a worker ends at once. Nothing happens if it has ended."""
        self._hosting.signal(self, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and to what it has started."""
        self._hosting.signal(self, signal.SIGKILL)

    def _tell(self, entry: dict[str, Any]) -> None:
        with self._changed:
            self._entry = entry
            self._changed.notify_all()

    def _end(self, exit_code: int) -> None:
        with self._changed:
            self._exit_code = exit_code
            self._changed.notify_all()


class Hosting:
    """A program's processes. The program has a lease in Redis already (`sheaf:mp:programs`), and keeps it.

    In a process that a worker runs for a program it is of the same program: its processes are children of this one, and
    what they print is shown by the program itself.
    """

    def __init__(
        self,
        settings: Settings,
        connection: redis.Redis,
        program: str,
        write: Callable[[int, bytes], object] | None = None,
    ) -> None:
        """`write`: where printed text goes, with the number of its stream; sys.stdout and sys.stderr if not given."""
        # The program may change its working folder.
        self._settings = dataclasses.replace(settings, data_dir=settings.data_dir.absolute())
        self._program = program
        self._steps = ProgramSteps(connection, program)
        self._place = here()
        self._write = write or write_out
        self._lock = threading.Lock()
        self._folder: folder.ProgramFolder | None = None
        self._key: bytes | None = None
        self._code: tuple[frozenset[str], Code] | None = None
        self._handles: dict[str, Hosted] = {}
        self._had = 0
        self._follower: threading.Thread | None = None
        self._notifier = Notifier(connection, keys.of_program(program, keys.MP_HOSTING), slice_s=_LISTEN_S)
        self._closed = threading.Event()
        self._pid = os.getpid()

    def start(
        self,
        name: str,
        payload: Sequence[bytes],
        *,
        process: str | None = None,
        daemon: bool = False,
        with_main: bool = True,
    ) -> Hosted:
        """Have a worker run a function: `payload` is (function, arguments, keywords), as the member's codec encodes it.

        `process`: its id, made by `new_id()`, if it is to be known before, for what travels to it in the payload.
        `with_main`: the process loads the program's main module first, as it has to if anything in it may be named.
        Raises ClusterError, SettingsError, OSError.
        """
        handle = Hosted(self, process or new_id(), name)
        with self._lock:
            path, key = self._opened()
            start = Start(
                program=self._program,
                process=handle.id,
                name=name,
                parent=self._place.process if self._place else "",
                daemon=daemon,
                argv=tuple(sys.argv),
                environment=own_environment(),
                folder=str(Path.cwd()) if self._is_here else None,
                code=self._own_code(path, with_main=with_main),
            )
            self._handles[handle.id] = handle
        folder.write_start(path, handle.id, start.signed(key, list(payload)))
        try:
            begun = self._steps.start(handle.id, {"name": name, "parent": start.parent})
        except BaseException:
            self._withdraw(path, handle)
            raise
        if not begun:
            self._withdraw(path, handle)
            raise ClusterError(
                f"{name} cannot be started: Redis does not know this program any more, because it was away for too "
                "long or was emptied; start the program again"
            )
        return handle

    def signal(self, handle: Hosted, number: signal.Signals) -> None:
        """For `Hosted`. Raises ClusterError."""
        if handle.poll() is None:
            self._steps.signal(handle.id, int(number))

    def close(self) -> None:
        """End what still runs, show what it has printed, and leave nothing on the volume."""
        if self._closed.is_set() or os.getpid() != self._pid:
            return
        self._end_all()
        self._closed.set()
        self._notifier.interrupt()
        if self._follower is not None:
            self._follower.join()
        if self._folder is not None:
            self._folder.close()

    # --- starting ---

    @property
    def _is_here(self) -> bool:
        """Whether workers see the files that this program sees: those of an embedded cluster do."""
        url = self._settings.redis_url
        return not url or url.startswith("unix:")

    def _opened(self) -> tuple[Path, bytes]:
        """The program's folder and key, made when the first process is started."""
        if self._key is None:
            if self._place is not None:
                self._key = self._place.key
            else:
                self._key = ClusterKey.of(self._settings).secret_of(self._program)
                self._folder = folder.ProgramFolder(self._settings.data_dir, self._program)
            self._follower = threading.Thread(target=self._follow, name="sheaf-processes", daemon=True)
            self._follower.start()
        return folder.folder_of(self._settings.data_dir, self._program), self._key

    def _own_code(self, path: Path, *, with_main: bool) -> Code:
        loaded = frozenset(code.own_modules())
        if self._code is None or self._code[0] != loaded:
            made = code.in_place() if self._is_here else code.copied(path / folder.CODE)
            self._code = loaded, made
        found = self._code[1]
        return found if with_main else code.without_main(found)

    def _withdraw(self, path: Path, handle: Hosted) -> None:
        del self._handles[handle.id]
        folder.withdraw_start(path, handle.id)

    def _end_all(self) -> None:
        deadline = time.monotonic() + 5.0
        for handle in list(self._handles.values()):
            with contextlib.suppress(ClusterError):
                self._steps.signal(handle.id, signal.SIGKILL)
        for handle in list(self._handles.values()):
            handle.wait(max(0.0, deadline - time.monotonic()))

    # --- the follower's thread ---

    def _follow(self) -> None:
        due = 0.0
        while not self._closed.is_set():
            try:
                if self._notifier.wait(_LISTEN_S if self._handles else 10 * _LISTEN_S) or time.monotonic() >= due:
                    self._look()
                    due = time.monotonic() + _LOOK_S
            except ClusterError:
                # The processes run on; what they print and how they end is known here when Redis is back.
                self._closed.wait(_RETRY_S)
        with contextlib.suppress(ClusterError):
            self._show()
        self._notifier.close()

    def _look(self) -> None:
        """See how processes are. An exit code is reported only after all that was printed before was shown."""
        handles = list(self._handles.values())
        for first in range(0, len(handles), _AT_ONCE):
            some = handles[first : first + _AT_ONCE]
            entries = self._steps.entries([handle.id for handle in some])
            self._show()
            self._note(some, [dict(entry) for entry in entries])
        if not handles:
            self._show()

    def _note(self, handles: list[Hosted], entries: list[dict[str, Any]]) -> None:
        ended = []
        for handle, entry in zip(handles, entries, strict=True):
            handle._tell(entry)
            if entry.get("state") == "ended":
                ended.append((handle, int(entry.get("exitcode", 1))))
        if ended:
            # Nothing of them stays in Redis or on the volume.
            self._steps.forget([handle.id for handle, _ in ended])
        for handle, exit_code in ended:
            if not handle.worker:
                folder.withdraw_start(folder.folder_of(self._settings.data_dir, self._program), handle.id)
            self._handles.pop(handle.id, None)
            handle._end(exit_code)

    def _show(self) -> None:
        """Write what was printed, in order. The program itself does it, not its processes."""
        if self._place is not None:
            return
        while True:
            self._had, entries = self._steps.printed(self._had)
            for entry in entries:
                head, _, text = entry.partition(b"\n")
                self._write(1 if head.endswith(_STDOUT) else 2, text)
            if not entries:
                return


def write_out(stream: int, text: bytes) -> None:
    """Write to this program's own stdout or stderr, whatever they are now (a notebook's are no files)."""
    target = sys.stdout if stream == 1 else sys.stderr
    with contextlib.suppress(OSError, ValueError, AttributeError):
        target.write(text.decode(errors="replace"))
        target.flush()
