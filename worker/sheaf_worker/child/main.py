"""The process that runs tasks, one of a pool's children. Imports neither redis nor rq: it starts fast and stays small.

worker ──program, items──► inbox ──► source ──► task.run() ──► outbox ──results──► worker
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from sheaf.core.errors import SheafError, TaskError
from sheaf.formats import Format, format_for
from sheaf.run.items import Result
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks import transient_errors
from sheaf.tasks.description import BUILT_IN
from sheaf.tasks.function.process_state import process_state
from sheaf.tasks.protocol import Task
from sheaf.tasks.registry import resolve
from sheaf.tasks.tracebacks import FilesUsedUp, class_name, describe, explain, refuse_used_up
from sheaf.tasks.transient_errors import again_if_passing, passes
from sheaf_worker.child.copies import Lifeline, end_with_parent
from sheaf_worker.child.outbox import Outbox
from sheaf_worker.child.pipe import Inbox, ItemSource, start_helper
from sheaf_worker.child.standing import give_way
from sheaf_worker.wire.exit_codes import FILES_USED_UP, LACKING
from sheaf_worker.wire.ring import Memory, RingWriter
from sheaf_worker.wire.slots import SharedSlots, SlotWriter

#: Seconds before retrying a task that failed without an item in hand: the worker may give it up meanwhile, or the
#: system may grant what it refused.
_PAUSE_S, _PASSING_PAUSE_S = 0.1, 1.0
#: Seconds between two checks of the task's choices.
_REPORT_S = 1.0


class Ends(NamedTuple):
    """The child's ends of what joins it to its worker."""

    connection: Connection
    #: Replaces stdout and stderr.
    printed: Connection
    slots: SharedSlots
    ring: Memory


def main(ends: Ends, tasks_dir: Path | None, task_modules: Sequence[str], parent: int) -> None:
    """Serve one program after another until asked to end, or until the worker is gone."""
    _set_up_process(parent, ends.printed)
    connection = ends.connection
    slots = SlotWriter(ends.slots)
    outbox = Outbox(connection, RingWriter(ends.ring))
    inbox = Inbox(connection, outbox, slots)
    lifeline = Lifeline()
    os.register_at_fork(after_in_child=lambda: _detach_after_fork(lifeline, connection, inbox, outbox, slots))
    outbox.send("hello")
    start_helper(inbox, outbox)
    _warm_up()
    while (source := inbox.next_source()) is not None:
        _Service(source, outbox, slots, tasks_dir, task_modules).run()
        outbox.flush()


def _set_up_process(parent: int, printed: Connection) -> None:
    end_with_parent(parent)
    # A process group of its own: what the task starts can be killed with it, and Ctrl-C reaches the worker only.
    os.setpgid(0, 0)
    give_way()
    # Handlers that do nothing: SIG_IGN would be inherited by every command that a task starts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore_signal)
    os.register_at_fork(after_in_child=_restore_signals)
    # What a task prints belongs in the log; the worker passes it on, up to a limit.
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(printed.fileno(), descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Otherwise the text would appear only when this process ends.
        sys.stdout.reconfigure(line_buffering=True)
    printed.close()


def _warm_up() -> None:
    """Import what most runs need, while there is nothing to do, so that runs start sooner."""
    # If the system refuses something now, the imports are repeated for the first run, which reports the failure.
    with contextlib.suppress(ImportError, OSError, MemoryError):
        importlib.import_module("sheaf.tasks.function.task")
        importlib.import_module("sheaf.formats.jsonl")


def _detach_after_fork(
    lifeline: Lifeline, connection: Connection, inbox: Inbox, outbox: Outbox, slots: SlotWriter
) -> None:
    """In a copy of this process that a task has forked: have it end with us, and take pipe and slots from it.

    A copy that returns from the task's function finds its source closed and no worker to report to, and ends.
    """
    lifeline.hold()
    slots.detach()
    outbox.detach()
    inbox.detach()
    connection.close()


def _ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """The worker decides when a child ends."""


def _restore_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Lacking(Exception):
    """The system has refused repeatedly what this process needs to start."""


class Choices:
    """Reports the task's own choices to the worker at intervals. Most tasks make none."""

    def __init__(self, outbox: Outbox) -> None:
        #: A task with an attribute `choices`, a list of objects with name, value and why.
        self.task: object = None
        self._outbox = outbox
        self._reported: list[tuple[str, str, str]] = []
        self._due = 0.0

    def report_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _REPORT_S
            choices = [(choice.name, str(choice.value), choice.why) for choice in getattr(self.task, "choices", ())]
            if choices != self._reported:
                self._reported = choices
                self._outbox.send("choices", choices)


class _Service:
    """One program's time in this child."""

    def __init__(
        self,
        source: ItemSource,
        outbox: Outbox,
        slots: SlotWriter,
        tasks_dir: Path | None,
        task_modules: Sequence[str],
    ) -> None:
        self._source = source
        self._outbox = outbox
        self._slots = slots
        self._tasks_dir = None if tasks_dir is None else tasks_dir.resolve()
        self._task_modules = task_modules
        self._choices = Choices(outbox)

    def run(self) -> None:
        _, plain, output, separator = self._source.program
        spec = TaskSpec(**plain)
        name, options = spec.task, spec.options
        try:
            task, record_format = self._find(name, spec.files, lambda: format_for(output, options, separator))
            self._choices.task = task
            window = int(task.window(options))
            keeps = bool(getattr(task, "keeps", False))
            self._outbox.send("ready", window, int(getattr(task, "at_once", 1)), keeps)
            while not self._source.closed:
                self._pass_on(task.run(self._source, options, record_format))
        except FilesUsedUp:
            os._exit(FILES_USED_UP)
        except Lacking as lack:
            self._outbox.send("lacks", str(lack))
            os._exit(LACKING)
        except SheafError as error:
            self._refuse(type(error).__name__, str(error))
        except BaseException as error:  # noqa: BLE001 - the code of a module or a decorator may raise anything
            self._refuse(TaskError.__name__, f"{name!r} cannot be made ready: {explain(error, self._tasks_dir)}")
        finally:
            # Also after async items and streams, which run in the same process at the same time.
            process_state.go_back()

    def _find(self, name: str, files: Mapping[str, str], make_format: Callable[[], Format]) -> tuple[Task, Format]:
        def find() -> tuple[Task, Format]:
            return resolve(name, self._tasks_dir, self._task_modules, files), make_format()

        try:
            return again_if_passing(find)
        except Exception as error:
            if name in BUILT_IN and passes(error):
                # No user code is involved: the worker reports it, and retries for as long as it takes.
                raise Lacking(f"it cannot begin with {name!r}: {describe(error, None)}") from error
            refuse_used_up(error, self._tasks_dir)
            if not passes(error):
                raise
            # The module's own code may raise this every time, so there is an end to it.
            self._outbox.send("delayed", describe(error, self._tasks_dir))
        try:
            return again_if_passing(find, transient_errors.LONG_PAUSES_S)
        except Exception as error:
            refuse_used_up(error, self._tasks_dir)
            raise

    def _refuse(self, error: str, message: str) -> None:
        """Not an item's fault: the task cannot be found or called like this, whichever item of the run it is."""
        self._slots.clear()
        self._outbox.flush()
        self._outbox.send("refused", error, message)

    def _pass_on(self, results: Iterator[Result | None]) -> None:
        """Send results until the source is closed or an exception escapes the task."""
        finish, add = self._slots.finish, self._outbox.add
        try:
            for result in results:
                if result is None:
                    self._outbox.flush_if_due()
                    self._choices.report_if_due()
                else:
                    # In this order: an item whose result is invalid is still in hand, and is charged for it.
                    add(result)
                    finish(result.index)
            if not self._source.closed:
                raise RuntimeError("the task ended although more items were to come")
        except SheafError:
            raise
        except FilesUsedUp:
            # The worker sees in the slots what this process has begun; finished results are sent.
            self._outbox.flush()
            os._exit(FILES_USED_UP)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: the worker has to know of any
            in_hand = self._slots.clear()
            self._outbox.flush()
            if not in_hand and passes(error):
                time.sleep(_PASSING_PAUSE_S)
            self._outbox.send("broke", class_name(error), explain(error, self._tasks_dir), in_hand)
            if not in_hand:
                time.sleep(_PAUSE_S)
