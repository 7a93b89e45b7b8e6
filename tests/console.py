"""The console commands as a person runs them: subprocesses in a folder of their own, with a data folder in it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.forked_commands import run_command

SHEAF = Path(sys.executable).with_name("sheaf")
SITE = Path(__file__).parents[1] / "services/site/site.py"
#: Seconds that any one command of these tests may take.
LONGEST_S = 90


class Console:
    """A person in front of a terminal, in a folder that holds `data/`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}
        # Short leases, so that a test that kills something need not wait for the usual 15 s.
        quick = {"SHEAF_BATCH_LEASE_S": "4", "SHEAF_HEARTBEAT_S": "1", "SHEAF_RECONCILE_S": "1"}
        self.environment |= {"SHEAF_POOL_SIZE": "1", "COLUMNS": "100", **quick, **settings}

    def run(self, *arguments: str, given: str | bytes = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `sheaf ARGUMENTS` and check its exit status; no command ever shows a traceback."""
        done = run_command(
            [str(SHEAF), *arguments],
            cwd=self.folder,
            env=self.environment,
            given=given.encode() if isinstance(given, str) else given,
            timeout=LONGEST_S,
        )
        text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert done.returncode == status, (
            f"sheaf {' '.join(arguments)}: {done.returncode}\n{text.stdout}\n{text.stderr}"
        )
        assert "Traceback" not in text.stderr
        return text

    def refused(self, *arguments: str, given: str | bytes = "", status: int = 2) -> str:
        """Run a command that cannot be done; return its one complaint."""
        done = self.run(*arguments, given=given, status=status)
        assert done.stdout == ""
        assert done.stderr.startswith("sheaf: ")
        return done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command, as if Ctrl-C in its terminal reached it alone."""
        return subprocess.Popen(
            [SHEAF, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def on_terminal(self, *arguments: str, until: str | None = None) -> tuple[int, str]:
        """Run a command on a terminal; press Ctrl-C when `until` is on it. Return exit status and what was drawn."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(SHEAF, [str(SHEAF), *arguments], {**self.environment, "TERM": "xterm", "LINES": "24"})
        drawn, pressed = b"", until is None
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                drawn += os.read(terminal, 65536)
            except OSError:
                break
            if not pressed and until is not None and until in _plain(drawn):
                os.write(terminal, b"\x03")
                pressed = True
        os.close(terminal)
        assert time.monotonic() < deadline, _plain(drawn)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _plain(drawn)

    def list_file(self, name: str, *lines: str) -> str:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    def runs(self) -> list[str]:
        """What is in `runs/`: whole runs, and drafts if any were left."""
        folder = self.data / "runs"
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []

    def cluster(self) -> dict[str, Any]:
        """What the supervisor last wrote down."""
        content: dict[str, Any] = json.loads((self.data / ".sheaf/cluster.json").read_text())
        return content

    def pids(self) -> dict[str, int]:
        """The pids of Redis and the workers, by name."""
        return {name: pid for name, (pid, _) in self.cluster()["processes"].items()}


class Site:
    """The local test site, as a process."""

    def __init__(self, folder: Path) -> None:
        port_file = folder / "site.port"
        self._process = subprocess.Popen([sys.executable, SITE, "--port", "0", "--port-file", port_file])
        wait_until(lambda: port_file.exists() and port_file.read_text() != "", 60, "the site serves")
        self.url = f"http://127.0.0.1:{int(port_file.read_text())}"

    def pages(self, count: int, *, first: int = 0, **options: object) -> list[str]:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return [f"{self.url}/page/{number}" + (f"?{query}" if query else "") for number in range(first, first + count)]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile no request is answered, so that a run cannot end before something is done to it, however late."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)


def wait_until(condition: Callable[[], Any], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def processes_of(folder: Path) -> Mapping[int, str]:
    """Every living process whose command line or environment names the folder: pid and command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command + environment and command:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode()
    return found


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C; return what it printed."""
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LONGEST_S)
    return stdout, stderr


def _plain(drawn: bytes) -> str:
    """Without the terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode(errors="replace")).replace("\r", "")
