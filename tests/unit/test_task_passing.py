"""An error of the system while a task is imported is no item's fault: it is tried again before anybody is blamed."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from sheaf.errors import TaskError
from sheaf.tasks import passing, resolve


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "PAUSES_S", (0.0, 0.0))


def failing(times: int, original: Callable[..., Any], failure: Callable[[], Any]) -> Callable[..., Any]:
    """Like the original, but for its first calls for a module of these tests."""
    left = times

    def instead(name: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal left
        if "passing_task" in str(name) and left:
            left -= 1
            return failure()
        return original(name, *arguments, **keywords)

    return instead


def io_error() -> Any:
    raise OSError(errno.EIO, "Input/output error")


def test_a_file_that_python_could_not_read_once_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python calls such a module missing; the reason that was given before was another one."""
    (tmp_path / "passing_task_a.py").write_text("def f(x):\n    return x\n")
    found: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", failing(2, found, lambda: None))

    assert resolve("passing_task_a:f", tmp_path) is not None


def test_an_error_of_the_disk_is_tried_again_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the module's own code meets it."""
    (tmp_path / "passing_task_b.py").write_text("def f(x):\n    return x\n")
    monkeypatch.setattr(importlib, "import_module", failing(2, importlib.import_module, io_error))

    assert resolve("passing_task_b:f", tmp_path) is not None


def test_an_error_that_stays_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its tries, and not for ever."""
    (tmp_path / "passing_task_c.py").write_text("def f(x):\n    return x\n")
    monkeypatch.setattr(importlib.util, "find_spec", failing(3, importlib.util.find_spec, lambda: None))

    with pytest.raises(TaskError, match=r"did not find the module though its file is there: '.*passing_task_c\.py'"):
        resolve("passing_task_c:f", tmp_path)


def test_what_does_not_pass_is_not_tried_again(tmp_path: Path) -> None:
    """A module that raises is executed once."""
    (tmp_path / "passing_task_d.py").write_text(
        f"from pathlib import Path\nlog = Path({str(tmp_path / 'log')!r})\n"
        "log.write_text(log.read_text() + 'x' if log.exists() else 'x')\nopen('/nonexistent')\n"
    )

    with pytest.raises(TaskError, match="FileNotFoundError"):
        resolve("passing_task_d:f", tmp_path)
    assert (tmp_path / "log").read_text() == "x"
