"""Names that are not UTF-8, and locales that cannot write what a list holds: the same work, shown with escapes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import LONGEST_S, SHEAF

LIST = "日本\n\N{GRINNING FACE}\ncafé\n".encode() + b"\xe9\n"
TASK = """
def keep(text):
    return text
def fail(text):
    raise ValueError(text + " \\udce9")
"""
#: What sets each of them; the last one needs the system's `localedef`.
LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "UTF-8, strict output": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
    "ISO-8859-1": {"LC_ALL": "en_US.ISO-8859-1"},
}


class Person:
    """In front of a cluster of this locale, with a data folder, a tasks folder and a list whose names are no UTF-8."""

    def __init__(self, folder: Path, locale: dict[str, str]) -> None:
        self.folder = os.fsencode(folder)
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("SHEAF_", "LC_", "PYTHON"))}
        self.environment: dict[bytes, bytes] = {os.fsencode(key): os.fsencode(value) for key, value in keep.items()}
        self.environment |= {key.encode(): value.encode() for key, value in locale.items()}
        self.environment |= {
            b"SHEAF_POOL_SIZE": b"1",
            b"SHEAF_DATA_DIR": self.folder + b"/d\xe9ta",
            b"SHEAF_TASKS_DIR": self.folder + b"/t\xe9sks",
        }
        os.mkdir(self.folder + b"/d\xe9ta")  # noqa: PTH102  a Path is text
        os.mkdir(self.folder + b"/t\xe9sks")  # noqa: PTH102
        self.write(b"t\xe9sks/odd.py", TASK.encode())
        self.write(b"list-\xe9.txt", LIST)

    def write(self, name: bytes, content: bytes) -> None:
        with open(self.folder + b"/" + name, "wb") as target:
            target.write(content)

    def read(self, name: bytes) -> bytes:
        with open(self.folder + b"/" + name, "rb") as source:
            return source.read()

    def run(self, *arguments: str | bytes, status: int = 0, given: bytes = b"") -> tuple[bytes, str]:
        """Run a command, which never shows a traceback of its own; what it printed."""
        done = subprocess.run(
            [SHEAF, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            timeout=LONGEST_S,
        )
        said = done.stderr.decode(errors="backslashreplace")
        assert done.returncode == status, (arguments, done.returncode, done.stdout, said)
        assert "Traceback" not in said and "Error:" not in said, said
        return done.stdout, said


@pytest.fixture(scope="module", params=LOCALES)
def person(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_program: Path
) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("locale")
    locale = LOCALES[request.param]
    if request.param == "ISO-8859-1":
        command = ["localedef", "-f", "ISO-8859-1", "-i", "en_US", str(folder / "en_US.ISO-8859-1")]
        try:
            subprocess.run(command, capture_output=True, timeout=60, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this system makes no locale of ISO-8859-1: {error}")
        locale = {**locale, "LOCPATH": str(folder)}
    someone = Person(folder, locale)
    someone.run("up", "--workers", "1")
    yield someone
    someone.run("down")


def test_a_list_is_worked_on_whatever_its_name(person: Person) -> None:
    """The line that is no text is rejected, with its source as JSON can say it; all others are items, as they were."""
    _, said = person.run("map", "odd:keep", b"list-\xe9.txt", "-o", "keep.jsonl")
    assert r"3 items from list-\xe9.txt (1 line rejected)" in said

    records = [json.loads(line) for line in person.read(b"d\xe9ta/keep.jsonl").splitlines()]
    assert sorted(record["value"] for record in records) == sorted(LIST.decode(errors="ignore").split())
    (run,) = (name for name in os.listdir(person.folder + b"/d\xe9ta/runs") if not name.startswith(b"."))  # noqa: PTH208
    rejected = json.loads(person.read(b"d\xe9ta/runs/" + run + b"/rejected.jsonl"))
    assert (rejected["line"], rejected["source"][:5]) == (4, "list-")
    assert person.run("verify", "keep.jsonl")[0].endswith(b"among the failures.\n")
    assert json.loads(person.run("get", "keep.jsonl", "0")[0])["value"] == "日本"
    person.run("export", "keep.jsonl", "keep.csv", "--ordered")
    assert "0,日本,日本\n".encode() in person.read(b"d\xe9ta/keep.csv")


def test_what_failed_is_shown_and_can_be_done_again(person: Person) -> None:
    """For people with escapes; for programs, and as a list, exactly, in UTF-8."""
    person.run("map", "odd:fail", b"list-\xe9.txt", "-o", "fail.jsonl", status=1)

    person.run("failures", "last", "--all")
    assert b"ValueError" in person.run("failures", "last")[0]
    assert person.run("failures", "last", "--items")[0] == "日本\n\N{GRINNING FACE}\ncafé\n".encode()
    lines = person.run("failures", "last", "--json")[0].decode().splitlines()
    assert [json.loads(line)["item"] for line in lines] == ["日本", "\N{GRINNING FACE}", "café"]
    assert all("udce9" in ascii(json.loads(line)["message"]) for line in lines)
    for command in ("status", "status last", "repair fail.jsonl", "prune --dry-run"):
        person.run(*command.split())
    person.run("retry", "last", status=1)


def test_a_dry_run_shows_what_it_can(person: Person) -> None:
    """Values, and an exception's text."""
    shown, _ = person.run("map", "odd:keep", b"list-\xe9.txt", "--dry-run")
    assert shown.count(b'"value":') == 3
    shown, _ = person.run("map", "odd:fail", "-", "--dry-run", given=LIST)
    assert shown.count(b"fails: ValueError") == 3
    person.run("exec", b"list-\xe9.txt", "--dry-run", "--cwd", b"t\xe9sks", "--", "echo", "{}", b"\xe9")


def test_a_commands_words_are_the_bytes_that_they_were(person: Person) -> None:
    """The item in UTF-8, as it was read; a word of the command as it was typed."""
    person.run("exec", b"list-\xe9.txt", "-o", "exec.jsonl", "--", "printf", "%s-%s", "{}", b"\xe9")

    values = [json.loads(line)["value"] for line in person.read(b"d\xe9ta/exec.jsonl").splitlines()]
    assert sorted(value["stdout"] for value in values) == sorted(
        rf"{item}-\xe9" for item in LIST.decode(errors="ignore").split()
    )
    assert {base64.b64decode(value["stdout_base64"])[-2:] for value in values} == {b"-\xe9"}


def test_what_cannot_be_used_is_refused_in_one_line(person: Person) -> None:
    """A file that is not there, a task and a command that there are not."""
    for arguments in (("map", "odd:keep", b"no-\xe9.txt"), ("map", b"\xe9:keep", "range(3)"), (b"comm\xe9nd",)):
        _, said = person.run(*arguments, status=2)
        assert said.startswith("sheaf: ") and said.count("\n") == 1
