"""Which functions workers run, which they refuse, and what a submission learns of a task without importing it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sheaf import task
from sheaf.core.errors import TaskChanged, TaskError
from sheaf.core.settings import Settings
from sheaf.run.run import Manifest, Run
from sheaf.run.task_spec import TaskSpec
from sheaf.tasks import module_files
from sheaf.tasks.decorator import TaskDeclaration, declaration_of
from sheaf.tasks.description import TaskDescription, describe
from sheaf.tasks.registry import resolve
from sheaf.tasks.tracebacks import split
from sheaf.tasks.versions import check, files_in_force, record_version, versions
from tests.functions import by_index, run, values
from tests.runs import a_manifest


def test_a_decorated_function_stays_what_it_was() -> None:
    """It is called directly, with and without arguments of the decorator's; it only knows how it is to be run."""

    @task
    def plain(item: str) -> str:
        return item * 2

    @task(timeout_s=3, attempts=2, memory_mb=100, output=".csv")
    def said(item: str) -> str:
        return item * 3

    assert (plain("a"), said("a")) == ("aa", "aaa")
    assert declaration_of(plain) == TaskDeclaration()
    assert declaration_of(said) == TaskDeclaration(timeout_s=3, attempts=2, memory_mb=100, output=".csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timeout_s": 0}, "timeout_s=0 is not valid; give a number of seconds greater than 0"),
        ({"timeout_s": "3"}, "timeout_s='3'"),
        ({"attempts": 0}, "attempts=0 is not valid; give a whole number of at least 1"),
        ({"attempts": True}, "attempts=True"),
        ({"backoff_s": -1}, "backoff_s=-1"),
        ({"memory_mb": 1.5}, "memory_mb=1.5"),
        ({"output": "out.jsonl"}, "output='out.jsonl' is not valid; give a suffix"),
        ({"setup": 3}, "setup=3"),
        ({"concurrency": 5000}, "concurrency=5000 is not valid; give a whole number from 1 to 1000"),
        ({"stream": "sorted"}, "stream='sorted'"),
        ({"timeout": 3}, "has no argument 'timeout'; its arguments are timeout_s, attempts"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named_with_its_place(arguments: dict[str, Any], words: str) -> None:
    """File and line of the function, the argument, its value, and what to give instead."""
    with pytest.raises(TaskError, match=words) as raised:
        task(**arguments)(lambda item: item)
    assert str(raised.value).startswith(f"{__file__}:")


def test_harmless_library_functions_are_tasks(tmp_path: Path) -> None:
    """Of operator, math and the built-ins; without a tasks folder, too."""
    call = {"pass": "call"}
    assert values(run("operator:mul", tmp_path, ["[[6, 7], {}]"], **call)) == [42]
    assert values(run("math:sqrt", tmp_path, ["2.25"], **{"pass": "json"})) == [1.5]
    assert values(run("builtins:pow", tmp_path, ["[[2, 3], {}]", '[[2, 5], {"mod": 7}]'], **call)) == [8, 4]
    assert values(run("builtins:len", tmp_path, ["four"])) == [4]
    assert describe("operator:mul", None, call) == TaskDescription(TaskSpec("operator:mul", call), "function")


REFUSED = {
    "builtins": "eval exec compile open __import__ getattr setattr vars globals type input breakpoint __build_class__",
    "operator": "__name__ _abs",
    "math": "__loader__",
    "time": "clock_settime",
    "os": "system",
    "subprocess": "run",
    "importlib": "import_module",
    "pickle": "loads",
}


@pytest.mark.parametrize("name", [f"{module}:{name}" for module, names in REFUSED.items() for name in names.split()])
def test_other_library_functions_are_not(tmp_path: Path, name: str) -> None:
    """Whatever comes from Redis or the volume can name nothing that opens, imports or runs something."""
    with pytest.raises(TaskError, match=r"is not allowed|has no public function|does not exist"):
        resolve(name, tmp_path)


def test_modules_of_the_setting_are_allowed(tmp_path: Path) -> None:
    """Their public functions only; a module that cannot be imported is named with what to do."""
    settings = Settings.from_env({"SHEAF_TASK_MODULES": "textwrap, no_such_module"})
    modules = settings.extra_modules
    assert modules == ("textwrap", "no_such_module")
    assert describe("textwrap:dedent", tmp_path, modules=modules).kind == "function"
    with pytest.raises(TaskError, match="has no public function 'indent_'"):
        resolve("textwrap:indent_", tmp_path, modules)
    with pytest.raises(TaskError, match=r"'no_such_module', named in SHEAF_TASK_MODULES, cannot be imported: .*extra"):
        resolve("no_such_module:f", tmp_path, modules)
    with pytest.raises(TaskError, match="does not exist"):
        resolve("textwrap:dedent", tmp_path)


def test_a_name_that_a_file_merely_imports_is_not_its_task(tasks_dir: Path) -> None:
    """Else `from os import system` would be a task; what another file of the folder defines is one."""
    (tasks_dir / "lender.py").write_text("def own(x): return x\n")
    (tasks_dir / "borrower.py").write_text(
        "import functools, os\nfrom os import system\nfrom lender import own\n"
        "part = functools.partial(os.system)\nwrapped = functools.lru_cache(own)\nanonymous = lambda x: x\n"
    )
    for name in ("own", "wrapped", "anonymous"):
        assert values(run(f"borrower:{name}", tasks_dir, ["a"])) == ["a"]
    for name in ("system", "part"):
        with pytest.raises(TaskError, match=r"is not defined in .*borrower.py, which only imports it"):
            resolve(f"borrower:{name}", tasks_dir)


def test_a_link_out_of_the_folder_is_not_imported(tasks_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither as the task's file nor by it."""
    outside = tmp_path_factory.mktemp("outside") / "helper_outside.py"
    outside.write_text("NAME = 'outside'\n")
    (tasks_dir / "helper_outside.py").symlink_to(outside)
    (tasks_dir / "user.py").write_text("import helper_outside\ndef f(x): return x\n")
    with pytest.raises(TaskError, match=r"helper_outside.py is a link out of the tasks folder"):
        resolve("user:f", tasks_dir)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("async def f(x):\n    yield x\n", "here.py:1: 'here:f' is an async generator"),
        ("def f(items):\n    yield items\n", "here.py:1: .* is a generator function, which is for a stream of items"),
        ("from sheaf import task\n@task(stream=True)\ndef f(x): return x\n", "here.py:2: .* no generator function"),
        ("from sheaf import task\n@task(setup=dict)\ndef f(x): return x\n", "two arguments, the item and what setup"),
        ("from sheaf import task\n@task(tries=3)\ndef f(x): return x\n", "here.py:2: @task has no argument 'tries'"),
        ("from sheaf import task\nf = task(len)\n", r"here.*: <built-in function len> is written in C"),
        ("\n\nimport json\njson.loads('{')\ndef f(x): return x\n", "JSONDecodeError: .*here.py:4"),
        ("import os\nos._exit(7)\n", "the importing process ended with status 7"),
        ("import threading\nprint('noise')\n1/0\n", "ZeroDivisionError: division by zero .*here.py:3"),
    ],
)
def test_what_is_wrong_with_a_task_is_said_before_it_is_submitted(tasks_dir: Path, source: str, words: str) -> None:
    """With file and line, and without any of its code having run in this process."""
    (tasks_dir / "here.py").write_text(source)
    with pytest.raises(TaskError, match=words):
        describe("here:f", tasks_dir)
    assert "here" not in sys.modules


def test_a_description_says_what_a_manifest_needs(tasks_dir: Path) -> None:
    """What the decorator says, what the run's options say instead, and the digest of each file that it is made of."""
    (tasks_dir / "shop").mkdir()
    (tasks_dir / "shop" / "rates.py").write_text("RATE = 2\n")
    (tasks_dir / "shop" / "prices.py").write_text(
        "import sys, threading, time\nfrom .rates import RATE\nfrom sheaf import task\n"
        "print('noise'); print('{}', file=sys.stderr)\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "@task(timeout_s=30, attempts=5, memory_mb=200, output='.jsonl.gz')\nasync def parse(x): return x\n"
    )
    digests = {
        name: hashlib.sha256((tasks_dir / name).read_bytes()).hexdigest()
        for name in ("shop/prices.py", "shop/rates.py")
    }

    said = describe("shop.prices:parse", tasks_dir)

    spec = TaskSpec("shop.prices:parse", {}, 33.0, 5, 200, digests)
    assert said == TaskDescription(spec, "async", ".jsonl.gz")
    other = describe("shop.prices:parse", tasks_dir, {"timeout_s": 1, "attempts": 1, "memory_mb": 0}).spec
    assert (other.item_timeout_s, other.attempts, other.memory_mb) == (3.0, 1, 0)
    assert describe("load", None) == TaskDescription(TaskSpec("load"), "builtin")


def test_a_module_that_takes_for_ever_is_given_up(tasks_dir: Path) -> None:
    """With the advice where such work belongs."""
    (tasks_dir / "slow.py").write_text("import time\ntime.sleep(1000)\n")
    with pytest.raises(TaskError, match=r"cannot be imported within 0.5 s; move what takes long to `setup`"):
        describe("slow:f", tasks_dir, within_s=0.5)


def test_a_changed_file_is_imported_anew(tasks_dir: Path) -> None:
    """Also within the same second and of the same length; and a helper's change counts as the task's."""
    (tasks_dir / "fresh.py").write_text("from helper_of_fresh import N\ndef f(x): return N\n")
    (tasks_dir / "helper_of_fresh.py").write_text("N = 1\n")
    assert values(run("fresh:f", tasks_dir, ["a"])) == [1]
    (tasks_dir / "helper_of_fresh.py").write_text("N = 2\n")
    assert values(run("fresh:f", tasks_dir, ["a"])) == [2]
    assert not list(tasks_dir.rglob("*.pyc"))


def test_a_process_keeps_to_the_version_that_a_run_wants(tasks_dir: Path) -> None:
    """What it has imported is used even if the file has changed since; what it would have to import is refused."""
    path = tasks_dir / "kept.py"
    path.write_text("def f(x): return 1\n")
    first = describe("kept:f", tasks_dir).spec.files
    resolve("kept:f", tasks_dir, files=first)
    path.write_text("def f(x): return 2\n")

    resolve("kept:f", tasks_dir, files=first)
    second = describe("kept:f", tasks_dir).spec.files
    resolve("kept:f", tasks_dir, files=second)
    with pytest.raises(TaskChanged, match=r"kept.py has changed since the run was submitted"):
        resolve("kept:f", tasks_dir, files=first)


def manifest(run_name: str, digests: dict[str, str]) -> Manifest:
    return a_manifest(run_name, 1, TaskSpec("kept:f", files=digests))


def test_a_run_tells_its_versions(tmp_path: Path) -> None:
    """The one it was submitted with, and those it was switched to later; half a line of a killed writer is none."""
    one, two = {"a.py": "1"}, {"a.py": "2"}
    made = Run(tmp_path, manifest("r", one))
    assert files_in_force(made) == one
    record_version(made, one)
    record_version(made, two)
    record_version(made, two)
    with open(tmp_path / "versions.jsonl", "a") as target:
        target.write('{"since": "20')

    assert [version.files for version in versions(made)] == [one, two]
    assert files_in_force(made) == two
    assert versions(Run(tmp_path / "other", manifest("r", {}))) == []


def test_a_check_of_a_version_costs_a_stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file at rest is read once, however many batches ask; a change, a loss and a return are seen at once."""
    path = tmp_path / "kept.py"
    path.write_text("1")
    os.utime(path, (0, 0))
    made = Run(tmp_path, manifest("r", {"kept.py": hashlib.sha256(b"1").hexdigest()}))
    monkeypatch.setattr(module_files, "_YOUNG_S", -1.0)
    check(made, tmp_path)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read again"))
    check(made, tmp_path)
    monkeypatch.undo()
    path.write_text("2")
    with pytest.raises(TaskChanged, match=rf"{path} has changed since run r was submitted \(version \w{{12}}\)"):
        check(made, tmp_path)
    path.unlink()
    with pytest.raises(TaskChanged, match=rf"{path} does not exist, and run r was .* Workers look in {tmp_path}"):
        check(made, tmp_path)
    path.write_text("1")
    check(made, tmp_path)


def test_messages_are_taken_apart_as_they_were_put_together() -> None:
    """Whatever is in them: places are distinguished from other text in brackets, and kept when there is none."""
    assert split("E: text (/a/b c.py:7)\nTraceback\n  x") == ("E: text", "/a/b c.py:7", "Traceback\n  x")
    assert split("404 Not Found (http://a/)") == ("404 Not Found (http://a/)", "", "")
    assert split("") == ("", "", "")


def test_attempts_are_the_items_own(tasks_dir: Path) -> None:
    """A pause of one item holds up no other, and the run's end waits for all of them."""
    (tasks_dir / "own.py").write_text(
        "from sheaf import task\nseen = []\n@task(attempts=2, backoff_s=0.05)\ndef f(x):\n    seen.append(x)\n"
        "    if seen.count(x) < 2: raise OSError(x)\n    return len(seen)\n"
    )
    assert sorted(map(json.dumps, by_index(run("own:f", tasks_dir, ["a", "b"])))) == ["3", "4"]
