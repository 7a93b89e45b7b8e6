"""A worker or supervisor that ends unexpectedly has said why, in the log and in `status`."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from sheaf.cli.main import sheaf_command
from sheaf.core.errors import ClusterError
from sheaf.core.last_words import last_words

RAISED = [MemoryError(), SystemExit("made to raise"), TypeError("a greeting of another kind")]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    for name, value in {
        "DATA_DIR": str(tmp_path / "data"),
        "LABEL": "worker-7",
        "REDIS_URL": "redis://nowhere",
    }.items():
        monkeypatch.setenv(f"SHEAF_{name}", value)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Take away what the process under test has set up for logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def instead(*_given: object) -> NoReturn:
        raise error

    return instead


def said(data: Path, log: str) -> tuple[str, dict[str, str]]:
    """The last words, and the line of the log."""
    (death,) = last_words(data)
    line: dict[str, str] = json.loads(log.splitlines()[-1])
    assert line["level"] == "critical"
    assert death.cause in CliRunner().invoke(sheaf_command, ["status"]).output
    return f"{death.label}: {death.cause}", line


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_worker_that_cannot_begin(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException
) -> None:
    """Before it runs nothing guards its threads, and it is restarted again and again."""
    module = importlib.import_module("sheaf_worker.__main__")
    monkeypatch.setattr(module, "connect", raising(error))

    with pytest.raises(SystemExit) as ended:
        module.main()

    assert ended.value.code == 1
    words, line = said(data, capfd.readouterr().err)
    assert words.startswith(f"worker-7: {type(error).__name__}")
    assert words.endswith("(at its start)")
    assert type(error).__name__ in line["traceback"]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_supervisor_that_breaks(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException
) -> None:
    """With it the whole cluster ends, and no process is left that could be asked."""
    module = importlib.import_module("sheaf.embedded.__main__")
    monkeypatch.setattr(module, "supervise", raising(error))
    monkeypatch.setattr("sys.argv", ["sheaf.embedded", str(data)])

    assert module.main() == 1

    words, line = said(data, capfd.readouterr().err)
    assert words.startswith(f"supervisor: {type(error).__name__}")
    assert type(error).__name__ in line["traceback"]


def test_a_supervisor_that_cannot_serve(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only in its log is not found."""
    module = importlib.import_module("sheaf.embedded.__main__")
    monkeypatch.setattr(module, "supervise", raising(ClusterError("redis-server does not start: no room")))
    monkeypatch.setattr("sys.argv", ["sheaf.embedded", str(data)])

    assert module.main() == 1

    (death,) = last_words(data)
    assert death.cause.endswith("redis-server does not start: no room")
