"""What servers, items, tasks and file names bring along reaches no terminal raw, whichever command shows it."""

from __future__ import annotations

import os
import pty
import re
import select
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.console import LONGEST_S, SHEAF, Console

#: A title, a cleared screen, colour, the other kind of escape, a change of direction, a forged line.
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b2J\u202eforged"
TASK = f"""
import json, time
def fail(text):
    raise ValueError({HOSTILE!r} + "\\n" + text)
def slow(text):
    time.sleep(2)
    fail(text)
class {"Bad"}(Exception):
    pass
Bad.__name__ = Bad.__qualname__ = {HOSTILE!r}
def name(text):
    raise Bad(text)
"""
RAW = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def on_terminal(person: Console, *arguments: str) -> str:
    """Everything that a command sends to the terminal it runs on, as it is."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(person.folder)
        os.execve(SHEAF, [str(SHEAF), *arguments], {**person.environment, "TERM": "xterm"})
    drawn = b""
    while select.select([terminal], [], [], LONGEST_S)[0]:
        try:
            drawn += os.read(terminal, 65536)
        except OSError:
            break
    os.close(terminal)
    os.waitpid(pid, 0)
    return drawn.decode()


class Spoilt(NamedTuple):
    person: Console
    #: The name of their list.
    source: str
    #: The runs by the names of their functions.
    runs: dict[str, str]


@pytest.fixture(scope="module")
def spoilt(cluster: Console) -> Spoilt:
    """Runs whose items, errors, classes and sources hold what a terminal would obey."""
    (cluster.folder / "tasks").mkdir(exist_ok=True)
    (cluster.folder / "tasks/bad.py").write_text(TASK)
    source = Path(cluster.folder / f"list-{HOSTILE}.txt")
    source.write_text(f"one{HOSTILE}\ntwo\n")
    before = set(cluster.runs())
    runs: dict[str, str] = {}
    for function in ("fail", "name"):
        # Every item fails: 1.
        cluster.run("map", f"bad:{function}", source.name, "-o", f"{function}.jsonl", "--attempts", "1", status=1)
        (runs[function],) = set(cluster.runs()) - before - set(runs.values())
    return Spoilt(cluster, source.name, runs)


@pytest.mark.parametrize(
    "command",
    [
        "failures fail",
        "failures fail --all",
        "failures fail --items",
        "failures fail --json",
        "failures name",
        "failures name --all",
        "status",
        "status fail",
        "status name --explain",
        "verify name.jsonl",
        "export name.jsonl out.csv",
        "get name.jsonl 0",
        "repair name.jsonl",
        "retry name -d",
        f"failures {HOSTILE}",
        f"verify {HOSTILE}",
        f"map bad:{HOSTILE} 'range(1)' -o x.jsonl",
        f"load {HOSTILE}",
        f"--data {HOSTILE} status",
        HOSTILE,
    ],
)
def test_no_command_sends_it_to_the_terminal(spoilt: Spoilt, command: str) -> None:
    """Reports, tracebacks, summaries, complaints about what was typed: what a terminal would obey is shown instead."""
    words = [spoilt.runs.get(word, word) for word in command.split(" ")]

    drawn = on_terminal(spoilt.person, *words)

    assert drawn.strip()
    assert RAW.findall(drawn) == []


def test_what_is_drawn_in_place_holds_only_escapes_of_its_own(spoilt: Spoilt) -> None:
    """The picture of a run moves the cursor and has colours; nothing of a file's name or an error's is among them."""
    drawn = on_terminal(spoilt.person, "map", "bad:slow", spoilt.source, "-o", "drawn.jsonl", "--attempts", "1")

    assert "\x1b[" in drawn
    assert "2 items into data/drawn.jsonl" in drawn
    assert "Ctrl-C stops watching, not the run." in drawn
    assert [part for part in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e") if part in drawn] == []


def test_what_a_program_reads_is_exact(spoilt: Spoilt) -> None:
    """A list to load again is the list, whatever is in it."""
    assert spoilt.person.run("failures", spoilt.runs["fail"], "--items").stdout == f"one{HOSTILE}\ntwo\n"
