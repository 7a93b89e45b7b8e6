"""The user's own functions: how they are found, called, and how their faults are reported."""

from pathlib import Path

import pytest

from sheaf.core.errors import TaskError
from sheaf.run.items import Failed
from sheaf.tasks.registry import resolve
from sheaf.tasks.tracebacks import split
from tests.functions import run, values


def test_a_function_is_called_once_per_item(tasks_dir: Path) -> None:
    """With the item's text, or its JSON value if asked; its result is the record."""
    (tasks_dir / "sums.py").write_text("import helper_of_sums\ndef double(x): return helper_of_sums.twice(x)\n")
    (tasks_dir / "helper_of_sums.py").write_text("def twice(x): return x * 2\n")
    assert values(run("sums:double", tasks_dir, ["1", "ab"])) == ["11", "abab"]
    assert values(run("sums:double", tasks_dir, ["1", "[2]"], **{"pass": "json"})) == [2, [2, 2]]
    assert resolve("sums:double", tasks_dir).window({}) == 0


def test_a_function_may_lie_in_a_package(tasks_dir: Path) -> None:
    """`package.module:function`, with imports relative to the package."""
    (tasks_dir / "shop_pkg").mkdir()
    (tasks_dir / "shop_pkg" / "__init__.py").write_text("RATE = 3\n")
    (tasks_dir / "shop_pkg" / "prices.py").write_text("from . import RATE\ndef parse(x): return int(x) * RATE\n")
    assert values(run("shop_pkg.prices:parse", tasks_dir, ["2"])) == [6]


def test_what_a_function_raises_is_its_items_failure(tasks_dir: Path) -> None:
    """Class, message, file and line; the other items are done. So with exit(), and with values JSON cannot hold."""
    (tasks_dir / "picky.py").write_text(
        "import sys\ndef f(x):\n    if x == 'exit':\n        sys.exit(3)\n"
        "    if x == 'set':\n        return {1}\n    return 1 / int(x)\n"
    )
    results = run("picky:f", tasks_dir, ["0", "1", "x", "exit", "set"])
    assert values(results) == ["ZeroDivisionError", 1.0, "ValueError", "SystemExit", "TaskError"]
    assert isinstance(results[0], Failed)
    summary, place, traceback = split(results[0].message)
    assert (summary, place) == ("ZeroDivisionError: division by zero", f"{tasks_dir}/picky.py:7")
    assert traceback.startswith("Traceback (most recent call last):\n  File ") and "return 1 / int(x)" in traceback


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("", "here:missing", "has no function 'missing'"),
        ("f = 3", "here:f", "has no function 'f'"),
        ("", "absent:f", "absent.py, which does not exist"),
        ("def f(:", "here:f", "here.py:1: "),
        ("import sys\nimport nothing_of_that_name", "here:f", "No module named 'nothing_of_that_name' .*here.py:2"),
        ("raise SystemExit(2)", "here:f", "SystemExit: 2 .*here.py:1"),
        ("def f(a, b): pass", "here:f", r"here.py:1: .* it takes \(a, b\)"),
        ("", "here", "there is no task 'here'"),
        ("", "../here:f", "the form module:function"),
        ("", f"{'long' * 100}:f", "cannot be searched for: .*File name too long"),
        ("", "os.path:join", "which does not exist"),
    ],
)
def test_a_task_that_cannot_be_used_is_refused(tasks_dir: Path, source: str, name: str, words: str) -> None:
    """The error names the file and the line."""
    (tasks_dir / "here.py").write_text(source)
    with pytest.raises(TaskError, match=words):
        resolve(name, tasks_dir).window({})


def test_nothing_outside_the_tasks_folder_is_imported(tasks_dir: Path) -> None:
    """Neither Python's own modules under a file's name, nor a link that leads out of the folder."""
    (tasks_dir / "json.py").write_text("def f(x): return x\n")
    with pytest.raises(TaskError, match="has the same name as a module of Python"):
        resolve("json:f", tasks_dir)
    (tasks_dir / "inside").mkdir()
    (tasks_dir / "outside.py").write_text("def f(x): return x\n")
    (tasks_dir / "inside" / "outside.py").symlink_to(tasks_dir / "outside.py")
    with pytest.raises(TaskError, match="is a link out of the tasks folder"):
        resolve("outside:f", tasks_dir / "inside")
    with pytest.raises(TaskError, match="no tasks folder"):
        resolve("outside:f", None)
