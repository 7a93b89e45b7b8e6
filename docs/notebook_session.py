"""Write docs/notebook-session.md: a session at Python's prompt, typed on a terminal and recorded as it comes.

    .venv/bin/python docs/notebook_session.py

An embedded cluster, a function with a fault, its failures, the function corrected while the session goes on, and what
failed is done again.
"""

from __future__ import annotations

import difflib
import os
import pty
import re
import select
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).parent / "notebook-session.md"
#: What the scratch folder is called in the recording.
SHOWN_FOLDER = "/home/ada/shop"
#: Seconds that one line may take to be answered.
LONGEST_S = 100.0

FAULTY = """\
def price(line):
    name, amount = line.split(";")
    return {"name": name, "cents": round(float(amount) * 100)}
"""
CORRECTED = """\
def price(line):
    name, amount = line.split(";")
    return {"name": name, "cents": round(float(amount.replace(",", ".")) * 100)}
"""
BEFORE = """
from sheaf import Cluster, TaskFailed
cluster = Cluster.local(workers=2, tasks="tasks")
lines = [f"article {n};{n},50" if n % 1000 == 7 else f"article {n};{n}.50" for n in range(5000)]
results = list(cluster.map("shop:price", lines, failures="return"))
results[:2]
failed = [n for n, result in enumerate(results) if isinstance(result, TaskFailed)]
failed
results[7].error, results[7].item, results[7].attempts
print(results[7])
print(results[7].traceback)
"""
AFTER = """
for n, result in zip(failed, cluster.map("shop:price", [results[n].item for n in failed])): results[n] = result

results[7]
any(isinstance(result, TaskFailed) for result in results), len(results)
sum(result["cents"] for result in results)
cluster.submit("shop:price", "one more;12,00").result()
cluster.close()
"""


class Prompt:
    """`python -i` on a terminal."""

    def __init__(self, folder: Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}
            # The prompt of Python 3.13 and newer draws on the terminal, and says so where it cannot.
            environment |= {"TERM": "dumb", "COLUMNS": "400", "PYTHON_BASIC_REPL": "1"}
            os.execve(sys.executable, [sys.executable, "-iq"], environment)  # noqa: S606
        self.recorded = ""
        self._read()

    def type(self, line: str) -> None:
        os.write(self._terminal, f"{line}\n".encode())
        self._read()

    def end(self) -> str:
        os.write(self._terminal, b"\x04")
        os.waitpid(self._pid, 0)
        os.close(self._terminal)
        return self.recorded

    def _read(self) -> None:
        """Record until the next prompt."""
        drawn, deadline = "", time.monotonic() + LONGEST_S
        while not drawn.endswith((">>> ", "... ")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no prompt after:\n{self.recorded}{drawn}")
            if select.select([self._terminal], [], [], 0.2)[0]:
                drawn += _plain(os.read(self._terminal, 65536))
        self.recorded += drawn


def _plain(drawn: bytes) -> str:
    """Without the terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", drawn.decode())


def record() -> str:
    """Hold the session; return the page."""
    with tempfile.TemporaryDirectory(prefix="sheaf-notebook-") as work:
        folder = Path(work)
        task = folder / "tasks/shop.py"
        task.parent.mkdir()
        task.write_text(FAULTY)
        prompt = Prompt(folder)
        for line in BEFORE.strip().splitlines():
            prompt.type(line)
        first = prompt.recorded
        task.write_text(CORRECTED)
        prompt.recorded = ">>> "
        for line in AFTER.strip().splitlines():
            prompt.type(line)
        second = prompt.end()
    change = difflib.unified_diff(FAULTY.splitlines(), CORRECTED.splitlines(), lineterm="", n=1)
    shown = [part.removesuffix(">>> ").rstrip().replace(work, SHOWN_FOLDER) for part in (first, second)]
    return PAGE_TEXT.format(first=indent(shown[0]), change=indent("\n".join(list(change)[3:])), second=indent(shown[1]))


def indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


PAGE_TEXT = """# A session at the prompt

Recorded by `docs/notebook_session.py`, which types these lines at Python's prompt; a test holds the session anew and
compares. In a notebook it is the same. The folder holds `tasks/shop.py`, whose function does not know that some people
write `7,50`.

Connect (here: start a cluster of one's own), apply the function, look at what failed:

{first}

The function is corrected in an editor; the session goes on:

{change}

The items that failed are done again, by the new version; nothing else is:

{second}
"""


def main() -> None:
    PAGE.write_text(record())


if __name__ == "__main__":
    main()
