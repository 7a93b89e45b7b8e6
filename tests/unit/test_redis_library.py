"""The library of functions: what is in it, and what tells one version from another."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sheaf.broker import redis_library
from sheaf.broker.redis_library import STEPS, function_name, library, library_name

LUA = Path(redis_library.__file__).parent / "lua"
ACL = Path(redis_library.__file__).parents[2] / "services/redis/users.acl.tmpl"
#: Files that are put before others.
PRELUDES = {"lines", "lock_waiters", "shared_request", "shared_wake"}
PRELUDES |= {"mp_anyway", "mp_barriers", "mp_entry", "mp_locks", "mp_pipe", "mp_process", "mp_step", "mp_wake"}
#: Those that only add.
ADDING = {"shared_put", "shared_value"}
ADDING |= {"mp_dict_set", "mp_list_set", "mp_make", "mp_print", "mp_put", "mp_room", "mp_send", "mp_start"}


def test_every_lua_file_is_a_step_or_put_before_one() -> None:
    """None is forgotten: a step that is not in the library could not be taken in the stack."""
    assert {path.stem for path in LUA.glob("*.lua")} == set(STEPS) | PRELUDES
    assert {name for step in STEPS.values() for name in step.files[:-1]} == PRELUDES


def test_each_step_is_a_function_of_this_version() -> None:
    """Names of functions are shared by all libraries of a Redis, and two versions may be in it during an update."""
    text = library()
    assert text.startswith(f"#!lua name={library_name()}\n")
    for step in STEPS:
        assert f"function_name='{function_name(step)}'" in text
        assert function_name(step) == f"sheaf_{step}_{redis_library.version()}"


def test_a_changed_step_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers never call a function that does something else than they think; flags count, too."""
    before = redis_library.version()
    for changed in (replace(STEPS["finish"], files=("finish",)), replace(STEPS["finish"], flags=())):
        monkeypatch.setitem(STEPS, "finish", changed)
        redis_library.version.cache_clear()
        assert redis_library.version() != before
    monkeypatch.undo()
    redis_library.version.cache_clear()
    assert redis_library.version() == before


def test_what_adds_without_end_is_refused_by_a_full_redis() -> None:
    """All else takes, lets go, or shows that Redis is full; a flag that is missing there would stop a full cluster."""
    assert {name for name, step in STEPS.items() if not step.flags} == ADDING
    assert [name for name, step in STEPS.items() if "no-writes" in step.flags] == ["snapshot"]


def test_the_stacks_workers_may_do_what_the_steps_do() -> None:
    """A function runs with the rights of who calls it: a command that the list of users lacks stops the stack."""
    (worker,) = [line for line in ACL.read_text().splitlines() if line.startswith("user worker ")]
    allowed = {word.removeprefix("+") for word in worker.split() if word.startswith("+")}
    called = re.findall(r"redis\.p?call\(\s*'(\w+)'", "".join(path.read_text() for path in LUA.glob("*.lua")))
    assert len(set(called)) > 20
    assert {name.lower() for name in called} - allowed == set()


@pytest.mark.parametrize(("role", "files"), [("worker", "*.lua"), ("producer", "mp_*.lua")])
def test_roles_may_use_what_programs_share(role: str, files: str) -> None:
    """Both sides of `sheaf.multiprocessing` are in the stack: its keys, its channels, and all that its steps do."""
    (line,) = [line for line in ACL.read_text().splitlines() if line.startswith(f"user {role} ")]
    assert {"&sheaf:mp:*"} <= set(line.split())
    assert {"~sheaf:*", "~sheaf:mp:*"} & set(line.split())
    called = re.findall(r"redis\.p?call\(\s*'(\w+)'", "".join(path.read_text() for path in LUA.glob(files)))
    assert {f"+{name.lower()}" for name in called} - set(line.split()) == set()


def test_the_library_is_printed_without_any_package() -> None:
    """The image of the stack's Redis is built where none is installed."""
    root = Path(redis_library.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-m", "sheaf.broker.redis_library"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == library()
