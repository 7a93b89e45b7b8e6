"""Runs a command per item, one after the other in each child; what it prints and its status are the item's value."""

from __future__ import annotations

import base64
import codecs
import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sheaf.core.errors import SheafError, TaskError
from sheaf.formats import Format
from sheaf.run.items import Failed, Item, Result
from sheaf.tasks.exec.command import command_line, has_placeholder
from sheaf.tasks.exec.options import ExecOptions
from sheaf.tasks.exec.process import Finished, run_command
from sheaf.tasks.function.plain import IDLE_S
from sheaf.tasks.protocol import Pair, Source, Step

#: How much of a failed command's output its failure shows.
_SAID_CHARS = 500


class ExecTask:
    """The value is `{"exit": …, "stdout": …, "stderr": …, "seconds": …}`; a status that is not accepted fails.

    An output that is not UTF-8 is recorded twice: for people, and exactly, as `stdout_base64`.
    """

    def window(self, options: Mapping[str, Any]) -> int:
        wanted = ExecOptions.from_mapping(options)
        folder, program = wanted.folder(), wanted.command[0]
        if not wanted.shell and not has_placeholder(program) and _which(program, folder) is None:
            raise TaskError(
                f"this worker's machine has no program {program!r}; install it there, or use --shell for a line "
                "of shell"
            )
        return 0

    def run(self, source: Source, options: Mapping[str, Any], format: Format) -> Iterator[Result | None]:
        step = _step(ExecOptions.from_mapping(options), format)
        while True:
            source.do_all(step)
            if source.closed:
                return
            yield None
            source.wait(IDLE_S)


def _which(program: str, folder: Path) -> str | None:
    return shutil.which(program if "/" not in program else str(folder / program))


def _step(options: ExecOptions, format: Format) -> Step:
    folder = options.folder()

    def step(pair: Pair) -> bytes | Failed:
        item = Item(pair[0], str(pair[1]))
        for attempt in itertools.count(1):
            outcome = _attempt(options, folder, item, format)
            if isinstance(outcome, bytes) or attempt == options.attempts:
                break
            time.sleep(min(2.0 ** (attempt - 1), 30.0))
        return outcome if isinstance(outcome, bytes) else Failed(item.index, outcome[0], outcome[1], options.attempts)

    return step


def _attempt(options: ExecOptions, folder: Path, item: Item, format: Format) -> bytes | tuple[str, str]:
    """The item's record; or the class and message of its failure."""
    # In UTF-8, as it was read, whatever the locale makes of arguments.
    text = os.fsdecode(item.text.encode())
    words = command_line(options.command, text, item.index + 1, shell=options.shell, on_stdin=options.stdin)
    given = item.text.encode() + b"\n" if options.stdin else None
    try:
        done = run_command(words, folder, given, options.timeout_s, options.max_output_bytes)
    except (OSError, ValueError) as error:
        return "CommandNotStarted", f"{words[0]!r} cannot be started: {error}"
    if done.timed_out:
        return "Timeout", f"not done within {options.timeout_s:g} s; it and what it started were killed{_said(done)}"
    if options.accept_exit and done.status not in options.accept_exit:
        return "ExitStatus", f"{_ending(done.status)}{_said(done)}"
    try:
        return format.value(*item, _value(done))
    except SheafError as error:
        return type(error).__name__, str(error)


def _value(done: Finished) -> dict[str, Any]:
    value: dict[str, Any] = {"exit": done.status, "stdout": _text(done.stdout), "stderr": _text(done.stderr)}
    for name, data in (("stdout", done.stdout), ("stderr", done.stderr)):
        if not _is_text(data, cut=done.dropped > 0):
            # In the text above, the byte 0xff and the four characters `\\xff` look the same.
            value[f"{name}_base64"] = base64.b64encode(data).decode()
    value["seconds"] = round(done.seconds, 3)
    return value | ({"dropped_bytes": done.dropped} if done.dropped else {})


def _is_text(data: bytes, *, cut: bool) -> bool:
    """Whether it is UTF-8; `cut`: its last character may be torn."""
    try:
        codecs.utf_8_decode(data, "strict", not cut)
    except UnicodeDecodeError:
        return False
    return True


def _ending(status: int) -> str:
    return f"ended with exit status {status}" if status >= 0 else f"ended by signal {-status}"


def _said(done: Finished) -> str:
    said = _text(done.stderr.strip() or done.stdout.strip())
    return f"; it said: {said[-_SAID_CHARS:]}" if said else ""


def _text(data: bytes) -> str:
    """What is not UTF-8 is written as escapes, so that a person sees it."""
    return data.decode(errors="backslashreplace")
