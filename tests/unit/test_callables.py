"""A function is what it is when it is called: wrapped, bound, an object; what it gives is awaited if it has to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.core.errors import TaskError
from sheaf.run.items import Failed
from sheaf.tasks.description import describe
from sheaf.tasks.registry import resolve
from tests.functions import run, values

CALLABLES = """
import asyncio, functools, operator
from sheaf import task

def to_sync(f):
    @functools.wraps(f)
    def run(x): return asyncio.run(f(x))
    return run
def to_async(f):
    @functools.wraps(f)
    async def run(x): return f(x)
    return run
def listed(f):
    @functools.wraps(f)
    def run(x): return list(f(x))
    return run
def gathered(f):
    @functools.wraps(f)
    async def run(x): return [y async for y in f(x)]
    return run
def passed_on(f):
    @functools.wraps(f)
    def run(*given): return f(*given)
    return run
def with_two(f):
    @functools.wraps(f)
    def run(x): return f(x, 2)
    return run
def bare(f):
    return lambda x: f(x)

@to_sync
async def to_sync_of_async(x): return x.upper()
@to_async
def to_async_of_plain(x): return x.upper()
@listed
def listed_generator(x): yield from x.split()
@gathered
async def gathered_async_generator(x):
    for word in x.split(): yield word
@passed_on
async def passed_on_async(x): return x.upper()
@bare
async def bare_async(x): return x.upper()
@functools.wraps(print)
def wrapped_around_another(x): return x.upper()
@with_two
def with_another_signature(x, times): return x * times
@functools.lru_cache
def cached(x): return x.upper()
@functools.lru_cache
async def cached_async(x): return x.upper()
@functools.singledispatch
def dispatched(x): raise TypeError(x)
@dispatched.register
async def _(x: str): return x.upper()
async def twice(x): return bare_async(x)
@task(attempts=2, backoff_s=0)
@bare
async def patient_async(x): return x.upper()

def suffixed(suffix, x): return x + suffix
async def suffixed_async(suffix, x): return x + suffix
partial = functools.partial(suffixed, "!")
partial_async = functools.partial(suffixed_async, "!")

class Caller:
    def __call__(self, x): return x.upper()
    def method(self, x): return x.upper()
    async def async_method(self, x): return x.upper()
    @staticmethod
    async def static(x): return x.upper()
    @classmethod
    def of_class(cls, x): return x.upper()
class AsyncCaller:
    @task(concurrency=7)
    async def __call__(self, x): return x.upper()
class Text(str):
    __module__ = __name__
caller, async_caller = Caller(), AsyncCaller()
method, async_method, static, of_class = caller.method, caller.async_method, Caller.static, Caller.of_class
bare_static = staticmethod(to_async_of_plain)
partial_object = functools.partial(async_caller)

@task(stream=True)
@passed_on
def wrapped_stream(items):
    for item in items: yield item.upper()
@task(stream=True)
@functools.wraps(wrapped_stream)
def no_stream(items): next(items)
"""
WANTED = {
    **dict.fromkeys(
        (
            *("to_sync_of_async", "to_async_of_plain", "passed_on_async", "bare_async", "wrapped_around_another"),
            *("cached", "cached_async", "dispatched", "twice", "patient_async", "caller", "async_caller", "method"),
            *("async_method", "static", "of_class", "bare_static", "partial_object", "wrapped_stream"),
        ),
        "AB CD",
    ),
    "listed_generator": ["ab", "cd"],
    "gathered_async_generator": ["ab", "cd"],
    **dict.fromkeys(("partial", "partial_async"), "ab cd!"),
    "with_another_signature": "ab cdab cd",
    "Text": "ab cd",
}


@pytest.mark.parametrize("name", WANTED)
def test_what_works_when_it_is_called_works_as_a_task(tasks_dir: Path, name: str) -> None:
    """Whatever it is wrapped in or around, with the value that a call in plain Python gives."""
    (tasks_dir / "callables.py").write_text(CALLABLES)

    assert values(run(f"callables:{name}", tasks_dir, ["ab cd"])) == [WANTED[name]]


def test_its_kind_is_that_of_what_is_called(tasks_dir: Path) -> None:
    """Items of what is known to be async are in flight together; a decorator on a class's `__call__` is heard, too."""
    (tasks_dir / "callables.py").write_text(CALLABLES)
    kinds = {name: describe(f"callables:{name}", tasks_dir).kind for name in ("to_async_of_plain", "partial_async")}
    kinds |= {name: describe(f"callables:{name}", tasks_dir).kind for name in ("to_sync_of_async", "wrapped_stream")}

    assert list(kinds.values()) == ["async", "async", "function", "stream"]
    assert resolve("callables:async_caller", tasks_dir).window({}) == 14


def test_what_fails_when_it_is_awaited_fails_its_item(tasks_dir: Path) -> None:
    """With the traceback of what raised, after its attempts; what it gives has to be a value all the same."""
    (tasks_dir / "failing.py").write_text(
        "from sheaf import task\nasync def g(x):\n    if x == 'set': return {1}\n    raise KeyError(x)\n"
        "def f(x): return g(x)\n@task(attempts=2, backoff_s=0)\ndef h(x): return g(x)\n"
    )
    for name in "fh":
        unset, bad = run(f"failing:{name}", tasks_dir, ["set", "bad"])
        assert isinstance(unset, Failed) and "returned a set that JSON cannot hold" in unset.message
        assert isinstance(bad, Failed) and "failing.py:4" in bad.message
        assert (bad.error, bad.attempts) == ("KeyError", 1 if name == "f" else 2)


def test_a_wrapper_that_gives_no_values_is_told_so(tasks_dir: Path) -> None:
    """Whether its generator is wrapped in something else is known only when it is called."""
    (tasks_dir / "callables.py").write_text(CALLABLES)

    (failure,) = run("callables:no_stream", tasks_dir, ["a"])
    assert isinstance(failure, Failed) and "gave a NoneType when it was called" in failure.message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import functools, os\nf = functools.partial(os.system)\n", "only imports it"),
        ("f = 'abc'.join\n", "only imports it"),
        ("class C:\n    async def __call__(self, x): yield x\nf = C()\n", "odd.py:2: 'odd:f' is an async generator"),
        ("class C:\n    def __call__(self, x): yield x\nf = C()\n", "odd.py:2: 'odd:f' is a generator function"),
        ("import functools\ndef g(a, x): yield x\nf = functools.partial(g, 1)\n", "odd.py:2: 'odd:f' is a generator"),
        ("def g(a, b): pass\nimport functools\nf = functools.partial(g, 1, 2)\n", "is called with one argument"),
        ("class C:\n    def __call__(self): pass\nf = C()\n", "is called with one argument, the item, but it takes ()"),
        ("class C: pass\nf = C()\n", "has no function 'f'"),
    ],
)
def test_what_cannot_be_called_with_an_item_is_refused(tasks_dir: Path, source: str, words: str) -> None:
    """With file and line of what would be called."""
    (tasks_dir / "odd.py").write_text(source)
    with pytest.raises(TaskError) as refused:
        resolve("odd:f", tasks_dir).window({})
    assert words in str(refused.value)
