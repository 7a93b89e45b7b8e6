"""Runs commands of a producer, without waiting for Python and its modules each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


class Submitter:
    """A process that has everything imported, and forks for each command: submitting costs a moment only."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.chaos.errors_submitter"]
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(folder / "submitter.log", "ab"),  # noqa: SIM115  the process has it
            text=True,
        )

    def run(self, arguments: list[str]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _serve_commands() -> None:
    """What the submitter's process does."""
    from sheaf.cli.main import main

    import sheaf.cli.map  # noqa: F401  isort: skip

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            sys.argv = ["sheaf", *json.loads(line)]
            try:
                main()
            except SystemExit as ending:
                os._exit(int(ending.code or 0))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve_commands()
