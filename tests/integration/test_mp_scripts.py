"""Processes of a script: they have its main module, its neighbours and its arguments, in place and as a copy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sheaf.multiprocessing.folder import PROGRAMS
from tests.integration.bench import Bench
from tests.integration.hosting_bench import SOON_S, bench, serve
from tests.support import ReplyLosingProxy

__all__ = ["bench"]

ROOT = Path(__file__).parents[2]

SCRIPT = """
import dataclasses
import os
import sys

import helper
from sheaf.core.settings import Settings
from tests.integration.programs import HostingProgram

MODE = sys.argv[1]


@dataclasses.dataclass
class Word:
    text: str

    def shout(self, more):
        import late  # is beside the script, and not loaded by the program itself
        print(late.LOUD, self.text.upper(), more, MODE, __name__, type(self).__module__, os.environ["KIND"])


if __name__ == "__main__":
    os.environ["KIND"] = "own"
    program = HostingProgram(Settings.from_env(), sys.modules["__main__"], os.write)
    print("exit", program.start(Word("hello").shout, helper.Number(7)).wait(60), flush=True)
    print("exit", program.start(helper.say, Word("x")).wait(60), flush=True)
    program.close()
"""
HELPER = """
class Number:
    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"<{self.value}>"


def say(word):
    print("helper", word)
"""


def write_script(folder: Path) -> Path:
    folder.mkdir()
    (folder / "helper.py").write_text(HELPER)
    (folder / "late.py").write_text("LOUD = '!'\n")
    script = folder / "word-count.py"
    script.write_text(SCRIPT)
    return script


def run(bench: Bench, script: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = (
        bench.person.environment | {"PYTHONPATH": str(ROOT), "SHEAF_DATA_DIR": str(bench.person.data)} | settings
    )
    return subprocess.run(
        [sys.executable, script, "fast"],
        env=environment,
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=SOON_S,
    )


@pytest.mark.parametrize("travels", [False, True])
def test_a_script_with_a_dash_in_its_name(
    bench: Bench, tmp_path: Path, losing_proxy: ReplyLosingProxy, travels: bool
) -> None:
    """Own classes, bound methods, modules beside it, in a place that its workers see, and in one that they do not."""
    serve(bench)
    script = write_script(tmp_path / "program")
    done = run(bench, script, **({"SHEAF_REDIS_URL": losing_proxy.url} if travels else {}))
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "! HELLO <7> fast __mp_main__ __mp_main__ own",
        "exit 0",
        "helper Word(text='x')",
        "exit 0",
    ]
    assert list((bench.person.data / PROGRAMS).iterdir()) == []
    assert not list(bench.person.data.rglob("*.pyc"))
