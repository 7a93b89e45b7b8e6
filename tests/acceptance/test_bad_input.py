"""Everything that a person may get wrong: one clear line, exit status 2, and nothing is written or lost."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import Console, wait_until


def answers(path: Path) -> bool:
    """Whether connections are accepted there; a socket's file exists a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture(scope="module")
def redis_alone(tmp_path_factory: pytest.TempPathFactory, redis_program: Path) -> Iterator[str]:
    """A Redis with a password and without workers; yields the address of its default user."""
    folder = tmp_path_factory.mktemp("redis")
    users = ("user default on >secret ~* &* +@all", "user reader on >secret ~* &* +@read +ping +@connection")
    (folder / "users.acl").write_text("\n".join(users) + "\n")
    options = {"port": "0", "unixsocket": "redis.sock", "dir": ".", "aclfile": "users.acl", "save": ""}
    server = subprocess.Popen(
        [redis_program, *(part for name, value in options.items() for part in (f"--{name}", value))],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: answers(folder / "redis.sock"), 60, "Redis listens")
    yield f"unix://{folder}/redis.sock"
    server.terminate()
    server.wait(60)


@pytest.fixture
def person(tmp_path: Path, redis_alone: str) -> Console:
    """A person with a data folder and a Redis, but no workers: whatever is submitted would only wait."""
    console = Console(tmp_path, SHEAF_REDIS_URL=redis_alone, SHEAF_REDIS_PASSWORD="secret")
    console.data.mkdir()
    return console


@pytest.mark.parametrize(
    ("arguments", "given", "complaint"),
    [
        (["load"], "", "Missing argument 'FILE...'"),
        (["load", "missing.txt"], "", "there is no file missing.txt"),
        (["load", "."], "", "is a folder"),
        (["load", "https://example.org/a b"], "", "echo 'https://example.org/a b' | sheaf load -"),
        (["load", "-"], "", "the list is empty"),
        (["load", "-"], "# nothing\n\n", "the list is empty"),
        (["load", "-"], "ftp://example.org/\nnonsense\n", "none of the 2 lines is a URL"),
        (["load", "-"], "[http://www.wikipedia.org\n", "did you mean 'http://www.wikipedia.org'"),
        (["load", "-"], bytes(range(256)) * 100, "is a URL that can be loaded"),
        (["load", "-"], b"x" * 1_000_000, "1,000,000 bytes long"),
        (["load", "-"], b"\x1f\x8b\x08nonsense", "gzipped, but damaged"),
        (["load", "-", "-o", "pages.pdf"], "http://example.org", "has no suffix that names a record format"),
        (["load", "-", "-o", "no/such/pages.html"], "http://example.org", "does not exist; create it first"),
        (["load", "-", "-o", "/etc/pages.html"], "http://example.org", "outside the data folder"),
        (["load", "-", "--connections", "0"], "http://example.org", "'connections'"),
        (["load", "-", "--allow-net", "10.0.0.300/8"], "http://example.org", "10.0.0.300/8"),
        (["load", "-", "--max-size", "big"], "http://example.org", "is not a size"),
        (["load", "-", "--accept", "2yy"], "http://example.org", "'accept'"),
        (["watch"], "", "holds no runs yet"),
        (["failures", "xyz"], "", "holds no runs yet"),
        (["verify", "missing.jsonl"], "", "missing.jsonl"),
        (["get", "missing.jsonl", "0"], "", "there is no output"),
        (["nonsense"], "", "No such command 'nonsense'"),
        (["up"], "", "SHEAF_REDIS_URL is set"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(
    person: Console, arguments: list[str], given: str | bytes, complaint: str
) -> None:
    """The line says what was found and what to do; no run and no output come of it."""
    assert complaint in person.refused(*arguments, given=given)
    assert person.runs() == []
    assert [path.name for path in person.data.iterdir() if path.name != "runs"] == []


def test_a_file_that_is_not_ours_is_never_touched(person: Console) -> None:
    """An output's name on a file without an index: refused, and the file stays as it is."""
    path = person.data / "pages.html"
    path.write_text("another's work")

    complaint = person.refused("load", "-", "-o", "pages.html", given="http://example.org", status=1)

    assert "index" in complaint
    assert path.read_text() == "another's work"
    assert [path.name for path in person.data.iterdir()] == ["pages.html"]


def test_an_index_of_another_file_is_refused(person: Console) -> None:
    """An output that took another's index, by a copy or a move, is not written to."""
    person.run("load", "-", "-o", "first.jsonl", "--detach", given="http://example.org")
    for path in person.data.glob("first.jsonl*"):
        path.rename(person.data / path.name.replace("first", "second"))

    complaint = person.refused("load", "-", "-o", "second.jsonl", given="http://example.org/2", status=1)

    assert "first.jsonl" in complaint


def test_a_folder_that_may_not_be_written_to_is_named(person: Console) -> None:
    """Before anything is read from the list."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    person.data.chmod(0o555)

    assert "cannot be written to" in person.refused("load", "-", given="http://example.org")


def test_a_producer_without_the_volume_says_so(person: Console) -> None:
    """The data folder is not made silently where the volume should be."""
    person.data.rmdir()

    assert "is the volume mounted here?" in person.refused("load", "-", given="http://example.org")
    assert not person.data.exists()


@pytest.mark.parametrize(
    ("settings", "status", "complaint"),
    [
        ({"SHEAF_REDIS_URL": ""}, 1, "start one with `sheaf up`"),
        ({"SHEAF_REDIS_URL": "redis://127.0.0.1:1/0"}, 1, "Redis is not reachable"),
        ({"SHEAF_REDIS_URL": "nonsense"}, 2, "is not a Redis address"),
        ({"SHEAF_REDIS_PASSWORD": "wrong"}, 1, "SHEAF_REDIS_PASSWORD"),
        ({"SHEAF_REDIS_PASSWORD": ""}, 1, "SHEAF_REDIS_PASSWORD"),
        ({"SHEAF_POOL_SIZE": "many"}, 2, "SHEAF_POOL_SIZE='many'"),
    ],
)
def test_a_redis_that_does_not_serve_stops_a_submission_before_it_begins(
    person: Console, settings: dict[str, str], status: int, complaint: str
) -> None:
    """Not reachable, the wrong password, a wrong address: nothing was submitted, and the line says what to correct."""
    person.environment |= settings

    assert complaint in person.refused("load", "-", given="http://example.org", status=status)
    assert person.runs() == []


def test_a_redis_that_takes_nothing_loses_nothing(person: Console) -> None:
    """A user without the right to write: the run is safe on the volume, and the message says so."""
    person.environment["SHEAF_REDIS_USER"] = "reader"

    complaint = person.run("load", "-", "--detach", given="http://example.org", status=1).stderr

    assert "Redis denied the command" in complaint
    (run,) = person.runs()
    assert f"Run {run} is safe on the volume" in complaint


def test_a_watcher_without_workers_or_redis_says_so_and_goes_on(person: Console) -> None:
    """Progress comes from the volume; what is missing is named."""
    person.run("load", "-", "--detach", given="http://example.org")
    watching = person.start("watch")
    assert watching.stderr is not None
    shown = ""
    deadline = time.monotonic() + 60
    while "no workers are running" not in shown and time.monotonic() < deadline:
        shown += watching.stderr.readline()
    watching.kill()
    watching.communicate()
    assert "0 of 1 page" in shown
    assert "no workers are running" in shown

    person.environment["SHEAF_REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert "not known (Redis is not reachable" in person.run("status").stdout
