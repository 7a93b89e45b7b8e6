"""A stack that is set up wrongly says so; and the files on its volume serve everyone who shares it."""

from __future__ import annotations

import json

import pytest

from tests.compose.stack import Stack, docker, log_of, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

#: Lists what an output consists of, with owner and mode.
LIST_FILES = """
import os, pathlib
for path in pathlib.Path('/data').rglob('*'):
    found = path.stat()
    print(found.st_uid, found.st_gid, oct(found.st_mode)[-4:], path)
"""

#: Opens an index to write, and every folder but an example's own, as the user who runs it.
WRITE = """
import os, pathlib, sqlite3
os.umask(0o002)
index = sqlite3.connect('/data/shared.jsonl.index', timeout=20)
index.execute('BEGIN IMMEDIATE')
index.execute('CREATE TABLE probe (x)')
index.execute('DROP TABLE probe')
index.execute('COMMIT')
for path in pathlib.Path('/data').glob('shared.jsonl*'):
    os.close(os.open(path, os.O_RDWR))
for path in pathlib.Path('/data').glob('**/'):
    if path.name != 'photos':
        (path / 'probe').touch()
        (path / 'probe').unlink()
print('well')
"""


def test_a_worker_with_a_wrong_password_says_so_and_waits(stack: Stack) -> None:
    """One line in its log names the settings to look at; it does not end, and comes to life once that is mended."""
    wrong = ["-e", "SHEAF_REDIS_PASSWORD_FILE=", "-e", "SHEAF_REDIS_PASSWORD=wrong"]
    container = stack.compose("run", "-d", *wrong, "worker").stdout.strip()
    try:
        wait_until(lambda: "waiting for Redis" in log_of(container), 60, "the worker complains")
        (complaint,) = [
            line for line in map(json.loads, log_of(container).splitlines()) if line["message"] == "waiting for Redis"
        ]
        assert complaint["level"] == "warning"
        assert "Redis refused the login" in complaint["why"]
        assert "SHEAF_REDIS_PASSWORD(_FILE)" in complaint["why"]
        assert docker("inspect", "-f", "{{.State.Running}}", container) == "true\n"
    finally:
        docker("rm", "--force", container)


def test_a_producer_with_a_wrong_password_says_so_and_ends(stack: Stack) -> None:
    """Before the list is read: one line, exit status 1."""
    wrong = ["-e", "SHEAF_REDIS_PASSWORD_FILE=", "-e", "SHEAF_REDIS_PASSWORD=wrong"]

    done = stack.compose("run", "--rm", "-T", *wrong, "producer", "load", "-", check=False, given=stack.urls(1))

    assert done.returncode == 1
    assert "sheaf: Redis refused the login" in done.stderr
    assert "Traceback" not in done.stderr


#: Stops the worker's own process, in its container, and prints when its health file was last touched.
STOP = """
import os, pathlib, signal
for entry in pathlib.Path('/proc').iterdir():
    if entry.name.isdecimal():
        words = (entry / 'cmdline').read_bytes().split(b'\\0')
        if any(word.endswith(b'/sheaf-worker') for word in words[:2]) and b'init' not in words[0]:
            os.kill(int(entry.name), signal.SIGSTOP)
            print(entry.name)
"""


def test_a_worker_that_hangs_is_started_again(stack: Stack) -> None:
    """Stopped, it cannot end by itself: the check of its health ends it, and the engine starts it again."""
    victim = stack.containers("worker")[0]
    name = victim["Id"]
    assert docker("exec", name, "python", "-c", STOP).strip()

    def state(field: str) -> str:
        return docker("inspect", "-f", field, name).strip()

    restarts = victim["RestartCount"]
    wait_until(lambda: int(state("{{.RestartCount}}")) > restarts, 300, "it is restarted")
    wait_until(lambda: state("{{.State.Health.Status}}") == "healthy", 120, "it is well")


def test_a_worker_without_its_volume_ends_and_says_why(stack: Stack) -> None:
    """What it would write would be lost with its container: it does not start."""
    image = f"sheaf:{stack.name}"
    settings = ["-e", "SHEAF_REDIS_URL=redis://redis:6379/0", "-e", "SHEAF_DATA_DIR=/data"]
    container = docker("run", "-d", "--read-only", "--tmpfs", "/tmp", *settings, image).strip()
    try:
        assert docker("wait", container) == "2\n"
        assert log_of(container).startswith(
            "sheaf-worker: SHEAF_DATA_DIR=/data is not a folder that this worker (uid 10001) can write to; mount"
        )
    finally:
        docker("rm", "--force", container)


def test_what_one_container_creates_every_other_can_write(stack: Stack) -> None:
    """Producer and workers are two users in one group: every file of an output and of its run serves both."""
    stack.producer("load", "-", "-o", "shared.jsonl", "--allow-net", stack.site_net, given=stack.urls(50))

    listed = [line.split(maxsplit=3) for line in stack.python("worker", LIST_FILES).splitlines()]
    # What a script of the examples has drawn there is that script's own.
    files = [line for line in listed if not line[3].startswith("/data/photos")]
    shared = {path for _, _, _, path in files if path.startswith("/data/shared.jsonl")}
    assert {"/data/shared.jsonl", "/data/shared.jsonl.index", "/data/shared.jsonl.intent"} <= shared
    assert {owner for owner, _, _, _ in files} <= {"10001", "10002"}
    assert [line for line in files if line[1] != "10001" or line[2] not in ("0664", "2775")] == []
    assert stack.python("worker", WRITE) == "well\n"
    assert stack.producer_python(WRITE) == "well\n"
    # Both opened it last, one after the other: a side file made by either serves the other.
    assert stack.python("worker", WRITE) == "well\n"
