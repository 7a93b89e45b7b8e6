"""Commands per item: what takes the place of `{}`, what is kept of what they print, and who is killed when."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.errors import SettingsError, TaskError, TaskForbidden
from sheaf.core.settings import Settings
from sheaf.formats import format_for
from sheaf.run.items import Item
from sheaf.tasks.exec.command import command_line
from sheaf.tasks.exec.process import run_command
from sheaf.tasks.protocol import Step
from sheaf.tasks.registry import check_allowed, resolve


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a", "{}"], ["a", "x/y.tar.gz"]),
        (["a"], ["a", "x/y.tar.gz"]),
        (["a", "{.}-{/}", "{//}", "{/.}", "n{#}"], ["a", "x/y.tar-y.tar.gz", "x", "y.tar", "n7"]),
        (["a", "{} {}", "{x}"], ["a", "x/y.tar.gz x/y.tar.gz", "{x}"]),
    ],
)
def test_the_item_stands_in_the_place_of_the_braces(words: list[str], line: list[str]) -> None:
    """As in GNU parallel; a command without any gets the item as its last argument."""
    assert command_line(words, "x/y.tar.gz", 7, shell=False, on_stdin=False) == line


def test_what_an_item_holds_is_never_code() -> None:
    """Neither braces in it, nor, in a shell line, anything that a shell would understand."""
    text = "{#} '; rm -rf / #"
    assert command_line(["a", "{}"], text, 1, shell=False, on_stdin=False) == ["a", text]
    command = command_line(["echo", "{}"], text, 1, shell=True, on_stdin=False)

    done = run_command(command, Path("/"), None, 10, 1000)

    assert done.stdout.decode() == f"{text}\n"


def test_a_command_that_reads_the_item_gets_no_argument() -> None:
    """With --stdin the item is not added at the end."""
    assert command_line(["wc", "-c"], "x", 1, shell=False, on_stdin=True) == ["wc", "-c"]


def test_what_a_command_prints_is_kept_up_to_a_size(tmp_path: Path) -> None:
    """The rest is counted, and the command is not held up by it."""
    done = run_command(["sh", "-c", "head -c 300000 /dev/zero; echo no >&2; exit 3"], tmp_path, None, 20, 1000)

    assert (done.status, len(done.stdout), done.stderr, done.dropped, done.timed_out) == (
        3,
        1000,
        b"no\n",
        299_000,
        False,
    )


def test_a_large_item_is_read_whole_by_a_command_that_reads_late(tmp_path: Path) -> None:
    """Neither waits for the other."""
    done = run_command(["sh", "-c", "head -c 200000 /dev/zero; wc -c"], tmp_path, b"x" * 3_000_000, 20, 300_000)

    assert done.stdout.lstrip(b"\0").strip() == b"3000000"


def test_a_command_that_takes_too_long_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """The whole process group, so that nothing of it goes on beside the next try."""
    done = run_command(["sh", "-c", "sleep 100 & echo $! $$; wait"], tmp_path, None, 0.5, 1000)

    assert done.timed_out
    assert done.status == -9
    for pid in map(int, done.stdout.split()):
        deadline = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
            assert time.monotonic() < deadline, f"process {pid} goes on"
            time.sleep(0.02)


def test_what_a_command_leaves_running_holds_nobody_up(tmp_path: Path) -> None:
    """Even if it keeps the command's outputs open."""
    began = time.monotonic()
    done = run_command(["sh", "-c", "sleep 60 & echo $!"], tmp_path, None, None, 1000)
    os.kill(int(done.stdout), 9)

    assert done.status == 0
    assert time.monotonic() - began < 30


class Items:
    """A source with everything in it from the start."""

    def __init__(self, *texts: str) -> None:
        self.left = deque(map(Item, range(len(texts)), texts))
        self.outcomes: list[Any] = []

    @property
    def closed(self) -> bool:
        return not self.left

    def do_all(self, step: Step) -> None:
        while self.left:
            self.outcomes.append(step(self.left.popleft()))


def outcomes(*texts: str, **options: Any) -> list[Any]:
    source = Items(*texts)
    list(resolve("exec", None).run(source, options, format_for("o.jsonl")))  # type: ignore[arg-type]
    return source.outcomes


def test_an_exit_status_is_a_failure_unless_it_is_accepted() -> None:
    """The failure says what the command said; an accepted status is in the value."""
    words = ["sh", "-c", 'echo "not $1" >&2; exit "$1"', "sh", "{}"]

    good, bad = outcomes("0", "4", command=words)
    accepted = outcomes("4", command=words, accept_exit=[0, 4])
    anything = outcomes("9", command=words, accept_exit=[])

    assert b'"value":{"exit":0,"stdout":"","stderr":"not 0\\n","seconds":' in good
    assert (bad.error, bad.message) == ("ExitStatus", "ended with exit status 4; it said: not 4")
    assert b'"exit":4' in accepted[0]
    assert b'"exit":9' in anything[0]


def test_a_failed_command_is_tried_again(tmp_path: Path) -> None:
    """As often as was said; the failure tells how often that was."""
    mark = tmp_path / "mark"
    words = ["sh", "-c", f"test -e {mark} || {{ touch {mark}; exit 1; }}"]

    (done,) = outcomes("x", command=words, attempts=2)
    (failed,) = outcomes("x", command=["false"], attempts=2)

    assert isinstance(done, bytes)
    assert (failed.error, failed.attempts) == ("ExitStatus", 2)


def test_a_program_or_folder_that_is_not_there_is_told_before_any_item() -> None:
    """It is the same for every item of the run."""
    task = resolve("exec", None)
    with pytest.raises(TaskError, match="no program 'no-such-program'"):
        task.window({"command": ["no-such-program"]})
    with pytest.raises(TaskError, match="the folder /no/such"):
        task.window({"command": ["true"], "cwd": "/no/such"})
    with pytest.raises(TaskError, match="needs a command"):
        task.window({"command": []})
    with pytest.raises(TaskError, match="cannot be used"):
        task.window({"command": ["true"], "nonsense": 1})
    assert task.window({"command": ["{}"]}) == 0
    assert outcomes("no-such-program", command=["{}"])[0].error == "CommandNotStarted"


def test_a_command_does_not_learn_our_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches Redis is the worker's, not the command's."""
    monkeypatch.setenv("SHEAF_REDIS_PASSWORD", "secret")

    assert b"secret" not in run_command(["env"], tmp_path, None, 10, 100_000).stdout


def test_workers_run_commands_only_if_they_are_told_to() -> None:
    """The refusal names the setting; other tasks are not concerned."""
    for allowed in (None, False):
        with pytest.raises(TaskForbidden, match="SHEAF_ALLOW_EXEC=1"):
            check_allowed("exec", allowed)
        check_allowed("load", allowed)
    check_allowed("exec", True)
    assert [Settings.from_env({"SHEAF_ALLOW_EXEC": text}).allow_exec for text in ("1", "0", "")] == [True, False, None]
    with pytest.raises(SettingsError, match="SHEAF_ALLOW_EXEC='maybe' must be 1 or 0"):
        Settings.from_env({"SHEAF_ALLOW_EXEC": "maybe"})


def test_what_is_not_utf8_is_kept_exactly(tmp_path: Path) -> None:
    """The byte 0xff and the text `\\xff` look the same to a person, and are distinguished by a program."""
    lines = (
        r"printf '\377'",
        r"printf '\\xff'",
        r"printf '\303\251'; printf '\351' >&2",
        r"printf '\346\227\245\346\227'",
    )
    values = [
        json.loads(outcomes("x", command=["sh", "-c", line], cwd=str(tmp_path), max_output_bytes=4)[0])["value"]
        for line in lines
    ]

    assert [value["stdout"] for value in values] == ["\\xff", "\\xff", "é", "日\\xe6"]
    assert [value.get("stdout_base64") for value in values] == ["/w==", None, None, None]
    assert [value.get("stderr_base64") for value in values] == [None, None, "6Q==", None]
