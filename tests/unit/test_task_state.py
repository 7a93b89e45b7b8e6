"""What an item changes in its process is put back before the next one; what a module or its setup changes stays."""

from __future__ import annotations

import decimal
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

STATE = """
import decimal, locale, os, signal, socket, sys, time
from os import umask
from signal import setitimer, signal as set_handler
from sheaf import task

decimal.getcontext().prec = 12
sys.setrecursionlimit(1234)

HANDLED = (signal.SIGALRM, signal.SIGCHLD, signal.SIGPROF, signal.SIGUSR1)

def ring(*_):
    raise TimeoutError("late alarm")

def look():
    return {
        "folder": os.getcwd(), "umask": (before := os.umask(0o22), os.umask(before))[0],
        "prec": decimal.getcontext().prec, "seventh": str(decimal.Decimal(1) / 7),
        "inexact": decimal.getcontext().flags[decimal.Rounded],
        "timers": [signal.getitimer(n)[0] > 0 for n in range(3)],
        "handlers": [str(signal.getsignal(n)) for n in HANDLED],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "locale": locale.setlocale(locale.LC_ALL),
        "limit": sys.getrecursionlimit(), "timeout": socket.getdefaulttimeout(),
    }

def spoil():
    os.chdir("/usr")
    umask(0)
    decimal.getcontext().prec = 3
    decimal.getcontext().traps[decimal.Inexact] = True
    set_handler(signal.SIGALRM, ring)
    set_handler(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, ring)
    setitimer(signal.ITIMER_REAL, 0.05)
    setitimer(signal.ITIMER_PROF, 0.05)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    locale.setlocale(locale.LC_ALL, "C")
    sys.setrecursionlimit(500)
    socket.setdefaulttimeout(1)

def act(x):
    if x == "look":
        return look()
    if x == "sleep":
        time.sleep(0.2)
        return x
    spoil()
    if x == "raise":
        raise ValueError(x)
    if x == "context":
        decimal.setcontext(decimal.Context(prec=2))
    if x == "late":
        import late
    return x

def plain(x): return act(x)

@task(attempts=2, backoff_s=0)
def patient(x): return act(x)

def model():
    os.umask(0o27)
    decimal.getcontext().prec = 20
    return 1

@task(setup=model)
def with_setup(x, _): return act(x)

@task(concurrency=3)
async def coroutine(x):
    import asyncio
    before = decimal.getcontext().prec
    if x == "spoil":
        decimal.getcontext().prec = 3
    await asyncio.sleep(0.01)
    return [before, decimal.getcontext().prec]
"""
#: Runs in a process of its own: the items change it.
SCRIPT = """
import json, sys
from pathlib import Path
sys.path[:0] = {path!r}
from tests.functions import by_index, run
print(json.dumps([by_index(run(name, Path({folder!r}), texts)) for name, texts in {runs!r}]))
"""


def values(folder: Path, *runs: tuple[str, list[str]]) -> list[list[object]]:
    import json

    script = textwrap.dedent(SCRIPT).format(path=sys.path, folder=str(folder), runs=runs)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    found: list[list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", ["plain", "patient", "with_setup"])
def test_the_next_item_finds_what_the_first_one_found(tasks_dir: Path, kind: str) -> None:
    """Folder, umask, timers, handlers, mask of signals, locale, limits, decimals: also after one that raises."""
    (tasks_dir / "state.py").write_text(STATE)
    (tasks_dir / "late.py").write_text("")
    texts = ["look", "spoil", "look", "raise", "look", "context", "look", "late", "look", "spoil", "sleep"]

    (found,) = values(tasks_dir, (f"state:{kind}", texts))

    first = found[0]
    assert isinstance(first, dict)
    assert first["limit"] == 1234 and first["prec"] == (20 if kind == "with_setup" else 12)
    assert first["folder"] == os.path.realpath(tasks_dir)
    assert (first["umask"] == 0o27) == (kind == "with_setup")
    assert found == [first, "spoil", first, "ValueError", first, "context", first, "late", first, "spoil", "sleep"]


def test_what_a_module_changes_that_an_item_imports_stays(tasks_dir: Path) -> None:
    """It is imported once, and may need it for good."""
    (tasks_dir / "state.py").write_text(STATE)
    (tasks_dir / "late.py").write_text("import sys, os\nsys.setrecursionlimit(4321)\nos.umask(0o7)\n")
    (tasks_dir / "lazy.py").write_text(
        "import os, sys\ndef f(x):\n    import late\n    return [sys.getrecursionlimit(), os.umask(0o7)]\n"
    )
    assert values(tasks_dir, ("lazy:f", ["a", "b"])) == [[[4321, 7], [4321, 7]]]


@pytest.mark.unmeasured
def test_decimals_that_an_item_imports_are_put_back_too(tasks_dir: Path) -> None:
    """A module that is there only from the first item on."""
    (tasks_dir / "lazy.py").write_text(
        "import sys\nbefore = 'decimal' in sys.modules\ndef f(x):\n    import decimal\n"
        "    found = decimal.getcontext().prec\n    decimal.getcontext().prec = 3\n    return [before, found]\n"
    )
    precision = decimal.DefaultContext.prec
    assert values(tasks_dir, ("lazy:f", ["a", "b", "c"])) == [[[False, precision]] * 3]


def test_each_async_item_has_a_decimal_context_of_its_own(tasks_dir: Path) -> None:
    """Though they are in flight together."""
    (tasks_dir / "state.py").write_text(STATE)
    assert values(tasks_dir, ("state:coroutine", ["a", "spoil", "b", "c"])) == [
        [[12, 12], [12, 3], [12, 12], [12, 12]],
    ]


def test_the_next_run_of_a_task_finds_what_the_first_one_found(tasks_dir: Path) -> None:
    """Also if the last item of the one before has changed it."""
    (tasks_dir / "state.py").write_text(STATE)
    first, second = values(tasks_dir, ("state:plain", ["look", "spoil"]), ("state:plain", ["look"]))
    assert second == first[:1]
