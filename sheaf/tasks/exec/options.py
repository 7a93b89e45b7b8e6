"""The options of a run of commands, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sheaf.core.errors import TaskError
from sheaf.core.files import is_dir
from sheaf.tasks.exec.shell_line import shell_line

#: Options that change how a command is run, not what it gives.
TUNING = frozenset({"timeout_s", "attempts", "max_output_bytes"})


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """What was typed before and after the `--`."""

    #: The command's words.
    command: tuple[str, ...]
    #: The folder it runs in.
    cwd: str = "/"
    #: The words are one line for /bin/sh, in which the item is a variable.
    shell: bool = False
    #: The item is what the command reads from standard input.
    stdin: bool = False
    #: Exit statuses that are no failure; none: every status is fine.
    accept_exit: tuple[int, ...] = (0,)
    timeout_s: float | None = None
    attempts: int = 1
    #: Bytes of each output that are kept.
    max_output_bytes: int = 1 << 20

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Self:
        """Raises TaskError for an option that cannot be used."""
        values = dict(options)
        for name in ("command", "accept_exit"):
            if name in values:
                values[name] = tuple(values[name])
        try:
            made = cls(**values)
        except TypeError as error:
            raise TaskError(f"the options of exec cannot be used: {error}") from error
        if not made.command or not all(isinstance(word, str) and "\0" not in word for word in made.command):
            raise TaskError("exec needs a command after `--`, for example: sheaf exec urls.txt -- curl -sO {}")
        if (made.timeout_s is not None and made.timeout_s <= 0) or made.attempts < 1 or made.max_output_bytes < 0:
            raise TaskError("exec's time limit, attempts and output limit must be greater than 0")
        if made.shell:
            shell_line(made.command, made.stdin)
        return made

    @property
    def longest_s(self) -> float | None:
        """Seconds after which something is wrong with us: each attempt ends its command by itself."""
        return None if self.timeout_s is None else (self.timeout_s + 1) * self.attempts + 10

    def folder(self) -> Path:
        """Where to run. Raises TaskError if there is no such folder here."""
        folder = Path(self.cwd)
        if not is_dir(folder):
            raise TaskError(
                f"the folder {folder}, in which the commands should run, does not exist on this worker's machine; name "
                "another with --cwd (in containers, one that is mounted into the workers, such as /data)"
            )
        return folder
