"""Logs are one JSON object per line."""

import ast
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheaf.core import logs
from sheaf.core.logs import WRITE_WAIT_S, JsonLines, Sink

ROOT = Path(__file__).parents[2]
#: What `logging` keeps for itself: a record that is given one of them raises KeyError instead of being logged.
RESERVED = {*vars(logging.makeLogRecord({})), "message", "asctime"}


def test_a_record_becomes_one_line_of_json_with_its_fields() -> None:
    """The sentence is fixed; what varies is in fields of its own, and a traceback stays on the line."""
    formatter = JsonLines({"worker": "w-1"})
    try:
        raise ValueError("broken\nin two lines")
    except ValueError as error:
        record = logging.getLogger("t").makeRecord(
            "t",
            logging.ERROR,
            __file__,
            1,
            "group committed",
            (),
            (type(error), error, error.__traceback__),
            extra={"action": "commit", "bytes": 12},
        )

    line = formatter.format(record)

    fields = json.loads(line)
    assert "\n" not in line
    assert fields["message"] == "group committed"
    assert (fields["action"], fields["bytes"], fields["worker"], fields["level"]) == ("commit", 12, "w-1", "error")
    assert "ValueError: broken" in fields["traceback"]


def keys_of_extras() -> Iterator[tuple[str, str]]:
    """Every key of a dict that is passed as `extra`, or has an `action`, with its place."""
    for folder in ("sheaf", "worker", "producer", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                extras = [keyword.value for keyword in getattr(node, "keywords", []) if keyword.arg == "extra"]
                for inner in [inner for extra in extras for inner in ast.walk(extra)] + [node]:
                    keys = [key.value for key in getattr(inner, "keys", []) if isinstance(key, ast.Constant)]
                    if inner is not node or "action" in keys:
                        yield from ((f"{path.name}:{node.lineno}", str(key)) for key in keys)  # type: ignore[attr-defined]


def test_no_line_of_the_log_uses_a_name_that_logging_keeps_for_itself() -> None:
    """`extra={"thread": …}` raises, and took the last words of broken workers with it."""
    found = list(keys_of_extras())

    assert len(found) > 100
    assert [place for place, key in found if key in RESERVED] == []


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def full_file(folder: Path) -> int:
    """A descriptor of a file that may not grow: each write raises."""
    descriptor = os.open(folder / "full", os.O_WRONLY | os.O_CREAT)
    os.lseek(descriptor, 1 << 40, os.SEEK_SET)
    return descriptor


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may grow beyond a gigabyte, and a write that would raises."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def pipe(*, read: bool) -> int:
    """The writing end of a pipe without a reader; `read`: whose reading end is open."""
    reading, writing = os.pipe()
    if not read:
        os.close(reading)
    return writing


@pytest.mark.parametrize("behind", ["a full disk", "a reader that is gone", "a reader that has stopped", "nothing"])
def test_what_cannot_be_written_is_left_out(behind: str, tmp_path: Path, no_room: None) -> None:
    """ENOSPC and its like, EPIPE, a full pipe with a descriptor that blocks, EBADF: nothing raises, nothing hangs."""
    descriptors: dict[str, Callable[[], int]] = {
        "a full disk": lambda: full_file(tmp_path),
        "a reader that is gone": lambda: pipe(read=False),
        "a reader that has stopped": lambda: pipe(read=True),
        "nothing": lambda: 999,
    }
    descriptor = descriptors[behind]()
    sink = Sink(descriptor)
    began = time.monotonic()

    written = [sink.put(b"x" * 200_000) for _ in range(50)]

    assert time.monotonic() - began < 25 * WRITE_WAIT_S, "who has stopped reading is waited for once, not each time"
    assert written[1:] == [0] * 49
    assert written[0] < 200_000


def test_a_reader_that_is_slow_gets_everything() -> None:
    """It is waited for, as long as it has not stopped altogether."""
    reading, writing = os.pipe()
    code = "import sys, time\nn = 0\nwhile d := sys.stdin.buffer.read1(9000): n += len(d); time.sleep(.01)\nprint(n)"
    reader = subprocess.Popen([sys.executable, "-c", code], stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    sink = Sink(writing)

    assert [sink.put(b"y" * 100_000) for _ in range(5)] == [100_000] * 5
    os.close(writing)
    assert reader.communicate(timeout=60)[0] == b"500000\n"


def test_a_line_that_cannot_be_made_is_told_and_harms_nobody(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    logs.configure("info", worker="w")

    logging.getLogger("t").warning("odd", extra={"action": "x", "field": Textless()})
    logging.getLogger("t").warning("half a \ud800 character")

    first, second = capfd.readouterr().err.splitlines()
    assert json.loads(first)["message"] == "a line of the log is lost: RuntimeError"
    assert (json.loads(second)["level"], json.loads(second)["message"]) == ("warning", "half a \ud800 character")
