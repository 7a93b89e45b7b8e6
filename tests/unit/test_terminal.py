"""What others have written is shown, not obeyed: in a terminal, and in the headings of a combined file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sheaf.core.errors import OutputPathError
from sheaf.core.terminal import one_line, printable
from sheaf.run.resolve import locate_output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;a title\x07\x1b[2J", "\\x1b]0;a title\\x07\\x1b[2J"),
        ("a\rb\x08c\x00", "a\\x0db\\x08c\\x00"),
        ("\x7f\x9b31m\x85", "\\u007f\\u009b31m\\u0085"),
        ("abc\u202egpj.exe\u2066x\u2069", "abc\\u202egpj.exe\\u2066x\\u2069"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("half \ud83d of a pair", "half \\ud83d of a pair"),
        ("a name of bytes: \udcff", "a name of bytes: \\xff"),
        ("tab\tand \u00e9 \u6f22 \U0001f600 \u200f\u05e9", "tab\tand \u00e9 \u6f22 \U0001f600 \u200f\u05e9"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    """Escapes, controls of both kinds, changes of direction, halves of characters; letters of every language stay."""
    assert printable(text) == one_line(text) == shown


def test_lines_stay_lines_only_where_there_may_be_several() -> None:
    """A traceback has lines; an item's text that looks like a second line of ours has none."""
    assert printable("first\nsecond") == "first\nsecond"
    assert one_line("first\nsecond") == "first\\nsecond"


CONTAINER = """
import sys
from sheaf.core import terminal
terminal.guard()
terminal.type_commands_as("docker compose run --rm producer")
print("no workers are running; start some with `sheaf up` or `docker compose up -d`")
print("Watch it: sheaf watch 17   Check it: sheaf verify 'a b.warc.gz'   sheaf is up, sheaf uploads")
print("stop it: sheaf down")
terminal.data("sheaf watch 17")
"""


def test_commands_are_named_as_they_are_typed_in_containers() -> None:
    """What a message says to type can be typed where it is read; data is not a message."""
    shown = subprocess.run([sys.executable, "-c", CONTAINER], capture_output=True, text=True, check=True).stdout

    run = "docker compose run --rm producer"
    assert shown.splitlines() == [
        "no workers are running; start some with `docker compose up -d`",
        f"Watch it: {run} watch 17   Check it: {run} verify 'a b.warc.gz'   sheaf is up, sheaf uploads",
        "stop it: docker compose down",
        "sheaf watch 17",
    ]


PROGRAM = """
import sys, click
from sheaf.core import terminal
terminal.guard()
context = click.Context(click.Command("x"), color=True)
text = "\\x1b[2J\\u202e\\x9b"
with context:
    click.echo(text)
    click.echo(text, err=True)
print(text)
print(text, file=sys.__stdout__)
terminal.data(text)
terminal.control("\\x1b[K")
sys.stdout.buffer.write(b"\\x1b")
sys.stdout.flush()
raise ValueError(text)
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "us-ascii:strict", "iso8859-1:strict"])
def test_the_streams_show_what_is_printed_and_data_stays_exact(encoding: str) -> None:
    """However it is printed: echo, print, a traceback. What a program reads is untouched."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, env={"PYTHONIOENCODING": encoding})

    shown = b"\\x1b[2J\\u202e\\u009b"
    assert done.stdout.count(shown) == 3
    assert done.stdout.count("\x1b[2J\u202e\x9b\n".encode()) == 1
    assert done.stdout.replace("\x1b[2J\u202e\x9b\n".encode(), b"").count(b"\x1b") == 1
    assert done.stderr.count(shown) == 2
    assert done.stderr.count(b"\x1b") == 1


def test_json_that_is_shown_is_still_the_same_value() -> None:
    """On a terminal, too: JSON escapes the first 32 by itself, the others are shown as it would write them."""
    value = {"message": "\x1b[2J\u202e\x9b\x7f"}
    assert json.loads(printable(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize("name", ["a\nb.jsonl", "\x1b[31m.jsonl", "a\u202elnosj.jsonl", "a\udcff.jsonl", "a\x9b.jsonl"])
def test_an_output_cannot_have_a_name_that_a_terminal_obeys(name: str, tmp_path: Path) -> None:
    """It is shown in every line that names it; the message shows it escaped."""
    with pytest.raises(OutputPathError, match="control characters") as caught:
        locate_output(tmp_path, name)
    assert printable(str(caught.value)) == str(caught.value)
