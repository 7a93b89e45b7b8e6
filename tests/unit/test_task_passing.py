"""An error of the system while a task is imported is no item's fault: it is retried before anything is charged."""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import importlib.util
import os
import subprocess
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from sheaf.core.errors import TaskError
from sheaf.tasks import transient_errors
from sheaf.tasks.exec.process import run_command
from sheaf.tasks.protocol import Task
from sheaf.tasks.registry import resolve
from sheaf.tasks.transient_errors import again_if_passing, passes
from sheaf_worker.child import main as child
from sheaf_worker.wire.exit_codes import FILES_USED_UP, LACKING


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient_errors, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(transient_errors, "LONG_PAUSES_S", (0.0, 0.0))


def found(name: str, folder: Path) -> Task:
    return again_if_passing(lambda: resolve(name, folder))


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
    finds: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", failing(2, finds, lambda: None))

    assert found("passing_task_a:f", tmp_path) is not None


def test_an_error_of_the_disk_is_tried_again_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the module's own code meets it."""
    (tmp_path / "passing_task_b.py").write_text("def f(x):\n    return x\n")
    monkeypatch.setattr(importlib, "import_module", failing(2, importlib.import_module, io_error))

    assert found("passing_task_b:f", tmp_path) is not None


def test_an_error_that_stays_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its tries, and not for ever."""
    (tmp_path / "passing_task_c.py").write_text("def f(x):\n    return x\n")
    monkeypatch.setattr(importlib.util, "find_spec", failing(3, importlib.util.find_spec, lambda: None))

    with pytest.raises(TaskError, match=r"did not find the module though its file is there: '.*passing_task_c\.py'"):
        found("passing_task_c:f", tmp_path)


def test_what_does_not_pass_is_not_tried_again(tmp_path: Path) -> None:
    """A module that raises is executed once."""
    (tmp_path / "passing_task_d.py").write_text(
        f"from pathlib import Path\nlog = Path({str(tmp_path / 'log')!r})\n"
        "log.write_text(log.read_text() + 'x' if log.exists() else 'x')\nopen('/nonexistent')\n"
    )

    with pytest.raises(TaskError, match="FileNotFoundError"):
        found("passing_task_d:f", tmp_path)
    assert (tmp_path / "log").read_text() == "x"


class Ended(BaseException):
    """In place of the end of the process."""


class Service:
    """A program's time in a child, without the child: what it reported to its worker, and how it ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tasks_dir: Path) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.status: int | None = None
        self._tasks_dir = tasks_dir

        def end(status: int) -> NoReturn:
            self.status = status
            raise Ended

        monkeypatch.setattr(os, "_exit", end)

    def run(self, task: str, options: dict[str, Any] | None = None) -> Service:
        source: Any = SimpleNamespace(
            program=("r", {"task": task, "options": options or {}}, "out.jsonl", ""), closed=True
        )
        outbox: Any = SimpleNamespace(send=lambda *message: self.said.append(message), flush=lambda: None)
        slots: Any = SimpleNamespace(clear=list)
        with contextlib.suppress(Ended):
            child._Service(source, outbox, slots, self._tasks_dir, ()).run()
        return self


def refusing(monkeypatch: pytest.MonkeyPatch, module: str, code: int, times: int) -> None:
    """Have the import of a module end in that error this many times."""
    left, original = times, builtins.__import__

    def instead(name: str, *arguments: Any, **keywords: Any) -> Any:
        nonlocal left
        if name == module and left:
            left -= 1
            raise OSError(code, os.strerror(code))
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", instead)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO])
@pytest.mark.parametrize(
    ("module", "task"),
    [("sheaf.tasks.exec.task", "exec"), ("sheaf.formats.jsonl", "exec"), ("sheaf.tasks.function.finder", "own")],
)
def test_our_own_code_that_cannot_be_read_for_a_moment_fails_no_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, module: str, task: str
) -> None:
    """`load`, `exec` and what finds a function are imported in the child, too, as are the formats."""
    (tmp_path / f"passing_task_{code}.py").write_text("def f(x):\n    return x\n")
    service = Service(monkeypatch, tmp_path)
    refusing(monkeypatch, module, code, 2)

    service.run(*(("exec", {"command": ["true"]}) if task == "exec" else (f"passing_task_{code}:f", {})))

    assert [message[0] for message in service.said] == ["ready"]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_a_lack_that_stays_fails_no_item_of_our_own_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """No code of the user's has a part in it: the process says so and ends, and its worker starts another."""
    service = Service(monkeypatch, tmp_path)
    refusing(monkeypatch, "sheaf.tasks.exec.task", code, 99)

    service.run("exec", {"command": ["true"]})

    ((kind, why),) = service.said
    assert kind == "lacks"
    assert os.strerror(code) in why
    assert service.status == LACKING


def test_a_users_module_for_which_files_are_used_up_gets_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done in this one before may have left them open."""
    (tmp_path / "passing_task_e.py").write_text("def f(x):\n    return x\n")
    service = Service(monkeypatch, tmp_path)

    def no_file() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(importlib, "import_module", failing(3, importlib.import_module, no_file))

    service.run("passing_task_e:f")

    assert service.said == []
    assert service.status == FILES_USED_UP


def test_files_that_are_used_up_later_on_are_told_from_a_task_that_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passing_task_n.py").write_text("def f(x):\n    return x\n")
    service = Service(monkeypatch, tmp_path)
    errors = [errno.EIO] * 3 + [errno.EMFILE] * 9

    def fail() -> Any:
        code = errors.pop(0)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(importlib, "import_module", failing(12, importlib.import_module, fail))

    service.run("passing_task_n:f")

    assert [message[0] for message in service.said] == ["delayed"]
    assert service.status == FILES_USED_UP


@pytest.mark.parametrize("times", [5, 99])
def test_a_users_module_that_cannot_be_read_for_longer_is_waited_for_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A disk that fails for seconds fails no item; the wait has an end, as the module's own code may raise this."""
    (tmp_path / f"passing_task_m{times}.py").write_text("def f(x):\n    return x\n")
    service = Service(monkeypatch, tmp_path)
    monkeypatch.setattr(importlib, "import_module", failing(times, importlib.import_module, io_error))

    service.run(f"passing_task_m{times}:f")

    assert [message[0] for message in service.said] == ["delayed", "ready" if times == 5 else "refused"]
    assert "OSError: [Errno 5] Input/output error" in service.said[0][1]
    assert service.status is None


def test_what_a_users_module_raises_itself_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passing_task_l.py").write_text("raise ValueError('no')\n")

    service = Service(monkeypatch, tmp_path).run("passing_task_l:f")

    assert [message[0] for message in service.said] == ["refused"]


@pytest.mark.parametrize(
    ("error", "does"),
    [
        (MemoryError(), True),
        (ImportError("libz.so: failed to map segment: Cannot allocate memory", path="/libz.so"), True),
        (ImportError("a task's own words: Cannot allocate memory"), False),
        (ModuleNotFoundError("No module named 'json'", name="json"), True),
        (ModuleNotFoundError("No module named 'nowhere_to_be_found'", name="nowhere_to_be_found"), False),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (TaskError("no such task"), False),
    ],
)
def test_what_passes(error: BaseException, does: bool) -> None:
    """Python takes what it cannot look at for missing, and the loader of libraries has no numbers for errors."""
    assert passes(error) is does


def test_a_command_that_could_not_be_started_for_a_moment_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process is to be had, say: the item has no part in that."""
    left, original = 2, subprocess.Popen.__init__

    def start(self: Any, *arguments: Any, **keywords: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        original(self, *arguments, **keywords)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)

    assert run_command(["echo", "done"], tmp_path, None, None, 100).stdout == b"done\n"


def not_found(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_module_that_cannot_be_looked_at_even_now_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk still fails when Python has said that there is no such module: neither does it find it, nor do we."""
    (tmp_path / "passing_task_i.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    assert passes(not_found("passing_task_i")), "its file is there"
    assert not passes(not_found("passing_task_j")), "nothing is there"

    (tmp_path / "passing_task_j").mkdir()
    (tmp_path / "passing_task_j/__init__.py").touch()
    assert passes(not_found("passing_task_j")), "a package"

    stat = os.stat
    refused = [errno.EIO, errno.EACCES]

    def refuse(path: Any, *arguments: Any, **keywords: Any) -> os.stat_result:
        if "passing_task_k" in str(path):
            raise OSError(refused[0], os.strerror(refused[0]))
        return stat(path, *arguments, **keywords)

    monkeypatch.setattr(os, "stat", refuse)
    assert passes(not_found("passing_task_k")), "the disk does not say"
    del refused[0]
    assert not passes(not_found("passing_task_k")), "it is closed to us, and will be"
