"""What the user's code raises that is no Exception: it is its item's failure, or its task's, and never a lost item."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sheaf.core.errors import TaskError
from sheaf.run.items import Done, Failed
from sheaf.tasks.description import describe
from sheaf.tasks.function import setup
from sheaf.tasks.registry import resolve
from sheaf.tasks.tracebacks import split
from tests.functions import by_index, run

EXITS = """
import asyncio
import sys
from sheaf import task

class Panic(BaseException):
    '''As an extension in Rust raises it.'''

def exit_with(x):
    if x == "interrupt": raise KeyboardInterrupt
    if x == "generator": raise GeneratorExit("over")
    if x == "exit": sys.exit("gone")
    if x == "group": raise BaseExceptionGroup("several", [Panic("one"), ValueError("two")])
    if x == "panic": raise Panic("boom")
    if x == "cancelled": raise asyncio.CancelledError
    return x

def plain(x):
    return exit_with(x)

@task(attempts=2, backoff_s=0)
def patient(x):
    return exit_with(x)

@task(attempts=2, backoff_s=0)
async def coroutine(x):
    await asyncio.sleep(0.001)
    return exit_with(x)

@task(timeout_s=5)
async def timed(x):
    await asyncio.sleep(0.001)
    return exit_with(x)

@task(stream=True)
def stream(items):
    for x in items:
        yield exit_with(x)

@task(stream="pairs")
def pairs(items):
    for x in items:
        yield x, exit_with(x)

class Rude(BaseException):
    def __str__(self): raise Panic("no text")
    __repr__ = __str__

def value(x):
    return {"rude": Rude()}.get(x, x)

@task(attempts=2, backoff_s=30)
async def cancels_all(x):
    if x == "all":
        await asyncio.sleep(0.05)
        for other in asyncio.all_tasks():
            other.cancel()
        await asyncio.sleep(1)
    if x == "rests":
        raise ValueError("once more")
    await asyncio.sleep(0.3)
    return x

async def started():
    sys.exit("beside")

async def starts(x):
    beside = asyncio.create_task(started())
    await asyncio.sleep(0.05)
"""
RAISED = ["KeyboardInterrupt", "GeneratorExit", "SystemExit", "BaseExceptionGroup", "Panic", "CancelledError"]
ITEMS = ["interrupt", "generator", "exit", "group", "panic", "cancelled"]


@pytest.mark.parametrize("kind", ["plain", "patient", "coroutine", "timed", "stream", "pairs"])
def test_what_is_no_exception_is_its_items_failure(tasks_dir: Path, kind: str) -> None:
    """With class, traceback and place, and after its attempts, whatever kind of function it is; others go on."""
    (tasks_dir / "exits.py").write_text(EXITS)

    results = run(f"exits:{kind}", tasks_dir, ["a", *ITEMS, "b"])

    assert by_index(results) == ["a", *RAISED, "b"]
    for failure in results:
        if isinstance(failure, Failed):
            assert failure.attempts == (2 if kind in ("patient", "coroutine") else 1)
            fault = split(failure.message)
            assert fault.place.startswith(f"{tasks_dir}/exits.py:")
            assert "in exit_with" in fault.traceback
    panic = next(result for result in results if result.index == 5)
    assert isinstance(panic, Failed) and panic.message.startswith("Panic: boom (")


def test_an_item_that_cancels_all_others_loses_none(tasks_dir: Path) -> None:
    """Those that were in flight fail as cancelled, also one that waits for its next try, or was never begun."""
    (tasks_dir / "exits.py").write_text(EXITS)

    assert by_index(run("exits:cancels_all", tasks_dir, ["a", "rests", "all", "b"], attempts=1)) == [
        "CancelledError",
        "ValueError",
        "CancelledError",
        "CancelledError",
    ]
    results = run("exits:cancels_all", tasks_dir, ["rests", "all"], backoff_s=0.2)
    assert by_index(results)[1] in ("CancelledError", "all")
    assert sorted(result.index for result in results) == [0, 1]


def test_what_a_task_beside_them_raises_ends_nothing_in_silence(tasks_dir: Path) -> None:
    """It comes through with its own class: the pool then tries alone who has started it."""
    (tasks_dir / "exits.py").write_text(EXITS)
    with pytest.raises(SystemExit, match="beside"):
        run("exits:starts", tasks_dir, ["a", "b"])


@pytest.mark.parametrize("call", ["raise Panic('no model')", "raise KeyboardInterrupt", "raise GeneratorExit"])
@pytest.mark.parametrize("kind", ["", "async "])
def test_a_setup_that_raises_anything_refuses_the_task(
    tasks_dir: Path, monkeypatch: pytest.MonkeyPatch, call: str, kind: str
) -> None:
    """With its traceback."""
    monkeypatch.setattr(setup, "PAUSES_S", (0.0,))
    (tasks_dir / "exits.py").write_text(
        f"{EXITS}\n{kind}def open_model():\n    {call}\n@task(setup=open_model)\ndef f(x, model): return x\n"
    )
    with pytest.raises(TaskError, match=r"(?s)the setup of 'exits:f' raised \w+:.*Traceback.*in open_model"):
        resolve("exits:f", tasks_dir).window({})


def test_what_an_open_setup_raises_at_its_end_keeps_no_other_from_closing(
    tasks_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is printed."""
    (tasks_dir / "exits.py").write_text(
        f"{EXITS}\nclosed = []\ndef one():\n    yield 1\n    closed.append(1)\n"
        "def two():\n    yield 2\n    raise Panic('at the end')\n@task(setup=one)\ndef f(x, n): return n\n"
        "@task(setup=two)\ndef g(x, n): return n\n"
    )
    assert by_index(run("exits:f", tasks_dir, ["a"])) == [1]
    assert by_index(run("exits:g", tasks_dir, ["a"])) == [2]
    setup.close_all()
    assert sys.modules["exits"].closed == [1]
    assert "Panic: at the end" in capsys.readouterr().err


@pytest.mark.parametrize("call", ["raise Panic('on import')", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_a_module_that_raises_anything_on_import_is_told_of(tasks_dir: Path, call: str) -> None:
    """In the worker's child, and to who submits."""
    (tasks_dir / "exits.py").write_text(f"{EXITS}\n{call}\n")
    for look in (resolve, describe):
        with pytest.raises(
            TaskError, match=rf"'exits:plain' cannot be imported: \w+:.*exits.py:{EXITS.count(chr(10)) + 2}"
        ):
            look("exits:plain", tasks_dir)


def test_a_module_whose_names_raise_is_told_of_by_who_submits(tasks_dir: Path) -> None:
    """Not with a traceback of Sheaf's own."""
    (tasks_dir / "exits.py").write_text(f"{EXITS}\ndef __getattr__(name): raise Panic(name)\n")
    with pytest.raises(TaskError, match="the task cannot be examined: Panic: absent"):
        describe("exits:absent", tasks_dir)


EVIL = """
class Text(str):
    def splitlines(self, *_): raise BaseException("no lines")
    def __getitem__(self, _): raise BaseException("no part")
class Subtle(Exception):
    def __str__(self): return Text("a subtle\\ntext")
class Empty(Exception):
    def __bool__(self): raise BaseException("neither")
class Mute(Exception):
    def __str__(self): raise KeyboardInterrupt
    __repr__ = __str__
class Named(type):
    @property
    def __name__(cls): raise KeyboardInterrupt
class Nameless(Exception, metaclass=Named): pass
def f(x):
    if x == "subtle": raise Subtle
    if x == "empty":
        try: raise Empty("first")
        except Empty: raise ValueError("second")
    if x == "mute": raise Mute
    if x == "huge": raise ValueError("x" * 50_000_000)
    if x == "lines": raise ValueError("x\\n" * 1_000_000)
    if x == "exit": raise SystemExit(Mute())
    if x == "code": raise SystemExit("y" * 10_000_000)
    if x == "named": raise type("N" * 100_000 + "\\n", (Exception,), {})("named")
    if x == "nameless": raise Nameless("without")
    if x == "half": raise ValueError("a\\ud800b\\0c")
    if x == "deep":
        error = None
        for n in range(5000):
            try: raise ValueError(n) from error
            except ValueError as caught: error = caught
        raise error
    if x == "notes":
        error = ValueError("noted"); error.__notes__ = Mute(); raise error
"""


@pytest.mark.parametrize(
    ("item", "error", "text"),
    [
        ("subtle", "Subtle", "Subtle: a subtle …"),
        ("empty", "ValueError", "ValueError: second"),
        ("mute", "Mute", "Mute: (its text cannot be shown: KeyboardInterrupt)"),
        ("huge", "ValueError", "ValueError: xxx"),
        ("lines", "ValueError", "ValueError: x …"),
        ("exit", "SystemExit", "SystemExit: (its text cannot be shown: KeyboardInterrupt)"),
        ("code", "SystemExit", "SystemExit: yyy"),
        ("named", "N" * 200, "NNN"),
        ("nameless", "Nameless", "Nameless: without"),
        ("half", "ValueError", "ValueError: a\ud800b\0c"),
        ("deep", "ValueError", "ValueError: 4999"),
        ("notes", "ValueError", "ValueError: noted"),
    ],
)
def test_an_exception_that_cannot_be_shown_is_its_items_failure(
    tasks_dir: Path, item: str, error: str, text: str
) -> None:
    """One whose text raises, or has no end; and no more of it is kept than a person reads."""
    (tasks_dir / "evil.py").write_text(EVIL)

    failure, good = run("evil:f", tasks_dir, [item, "good"])

    assert isinstance(failure, Failed) and isinstance(good, Done)
    assert (failure.error, failure.message[: len(text)]) == (error, text)
    assert len(failure.message) < 7000
    assert json.loads(good.record)["value"] is None
