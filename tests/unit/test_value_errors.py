"""What cannot be sent is named with its place inside the value, and with what to do instead."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import os
import queue
import random
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import redis

from sheaf.core.errors import UsageError, ValueNotSendable, ValueUnreadable
from sheaf.values import Codec, Limits, Modules
from tests import value_classes as own

CODEC = Codec(Modules({"program": own}))


def error_of(value: Any, label: str = "value", codec: Codec = CODEC) -> str:
    with pytest.raises(ValueNotSendable) as caught:
        codec.encode(value, label)
    assert isinstance(caught.value, UsageError) and isinstance(caught.value, TypeError)
    return str(caught.value)


def generator() -> Iterator[int]:
    yield 1


#: What was given, and words of the cure.
REFUSED: dict[str, tuple[Any, str]] = {
    "a lock": (threading.Lock(), "sheaf.multiprocessing"),
    "a reentrant lock": (threading.RLock(), "sheaf.multiprocessing"),
    "an event": (threading.Event(), "sheaf.multiprocessing"),
    "a thread": (threading.Thread(), "sheaf.multiprocessing"),
    "a queue": (queue.Queue(), "sheaf.multiprocessing.Queue()"),
    "a fast queue": (queue.SimpleQueue(), "sheaf.multiprocessing.Queue()"),
    "a generator": (generator(), "send `list(…)`"),
    "an iterator": (iter([]), "send `list(…)`"),
    "a map": (map(str, []), "send `list(…)`"),
    "the keys of a dict": ({}.keys(), "send `list(…)`"),
    "a counter of itertools": (itertools.count(), "send `list(…)`"),
    "a lambda": (lambda: 1, "write a `def` at the top level"),
    "a function in a function": (own.outer(), "move it to the top level"),
    "a class in a function": (own.local_class(), "move it to the top level"),
    "an object of a class in a function": (own.local_class()(), "move it to the top level"),
    "an object that a function makes": (
        own.ByFunction(),
        "os.getenv, and functions received in a message are not called",
    ),
    "an object that copyreg has a function for": (
        own.Registered(),
        "os.getenv, and functions received in a message are not called",
    ),
    "an object that is a variable": (own.THE_ONE, "a variable's name"),
    "a module": (sys, "import it in the function that uses it"),
    "a function of the library": (os.system, "call it in a function of your own"),
    "a function that evaluates": (eval, "call it in a function of your own"),
    "a function that the program imported": (own.system, "call it in a function of your own"),
    "a method of the library": (re.compile("").match, "call it in a function of your own"),
    "a method of every object": ([].__len__, "call it in a function of your own"),
    "a method of every class": (object.__init__, "call it in a function of your own"),
    "a method that formats": ("{}".format, "call it in a function of your own"),
    "an object array": (np.array([object()]), ".tolist()"),
    "a masked array": (np.ma.MaskedArray([1]), "its mask"),
    "a record array": (np.zeros(1, [("a", "f8")]).view(np.recarray), "numpy.asarray"),
    "a generator of NumPy's": (np.random.default_rng(1), "send a seed"),
    "a connection to a database": (sqlite3.connect(":memory:"), "open it in the function"),
    "a connection to Redis": (redis.Redis(), "open it in the function"),
    "a logger": (logging.getLogger("x"), "getLogger"),
    "a weak reference": (weakref.ref(own.Plain), "send the object"),
    "a mapping proxy": (types.MappingProxyType({}), "send dict(…)"),
    "memory of C": (ctypes.c_int(1), "bytes(…)"),
    "a type of typing": (list[int], "send the class"),
    "a class of another package": (pytest.Session, "not one of the program's own modules"),
    "a large integer": (1 << (9 << 20), "send it as bytes"),
    "a long pattern": (re.compile("a" * 30_000), "compile it where it is used"),
    "code": (generator.__code__, "write a function in a module"),
    "a frame": (sys._getframe(), "send its values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sent_is_named_with_its_place_and_the_cure(name: str) -> None:
    """In the middle of an argument, as programs have it."""
    value, cure = REFUSED[name]
    said = error_of((0, own.Plain(queue={"x": [1, 2, 3, own.Plain(lock=value)]})), "args")
    assert said.startswith("args[1].queue['x'][3].lock: ") and cure in said
    assert "\n" not in said and len(said) < 500


def test_open_things_are_refused() -> None:
    with open(os.devnull) as file, socket.socket() as connection:
        assert error_of(file).startswith("value: a _io.TextIOWrapper cannot be sent: an open file; send its name")
        assert "an open connection" in error_of([connection])
    with subprocess.Popen(["true"]) as process:
        assert "a process of one machine" in error_of(process)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1, [lambda: 0]], "value[1][0]"),
        ((1, 2, lambda: 0), "value[2]"),
        ({"a": lambda: 0}, "value['a']"),
        ({5: {(1, 2): lambda: 0}}, "value[5][<tuple>]"),
        ({own.outer(): 1}, "value (the key <function>)"),
        ({lambda: 0}, "value{…}"),
        (own.Point(1, lambda: 0), "value[1]"),
        (own.Order("a", [lambda: 0]), "value.items[0]"),
        (own.SlotsAndDict(lambda: 0), "value"),
        (own.MyList([1, lambda: 0]), "value[1]"),
        (own.MyDict({"k": lambda: 0}), "value['k']"),
        (own.Model(name="x").model_copy(update={"tags": lambda: 0}), "value.__dict__['tags']"),
        (partial(own.top, 1, y=lambda: 0), "value.keywords['y']"),
        (partial(lambda: 0), "value.func"),
        (own.Plain(lambda: 0).work, "value.__self__.args[0]"),
        (slice(lambda: 0), "value.stop"),
        ({"k" * 500: lambda: 0}, "value['" + "k" * 59 + "…]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_places_are_written_as_the_program_would(value: Any, place: str) -> None:
    assert error_of(value).startswith(f"{place}: " if place != "value" else "value")


def test_too_deep_a_value_is_refused_on_both_sides() -> None:
    """pickle says RecursionError; and here the place is cut, since it is as long as the value is deep."""
    chain: Any = None
    for _ in range(5000):
        chain = [chain]
    said = error_of(chain)
    assert "nested more than 400 levels deep" in said and len(said) < 600
    wide = Codec(limits=Limits(depth=4000))
    data = Codec(limits=Limits(depth=1000)).encode(chain_of(800))
    assert wide.decode(data)
    with pytest.raises(ValueUnreadable, match="nested more than 400 levels deep"):
        CODEC.decode(data)


def chain_of(length: int) -> list[Any]:
    made: list[Any] = [(1,)]
    for _ in range(length):
        made = [made]
    return made


def test_a_value_is_taken_apart_from_deep_inside_a_program_too() -> None:
    def dive(levels: int) -> Any:
        return dive(levels - 1) if levels else CODEC.decode(CODEC.encode(chain_of(300)))

    before = sys.getrecursionlimit()
    assert dive(before - 250) is not None
    assert sys.getrecursionlimit() == before


def test_too_large_a_value_is_refused() -> None:
    codec = Codec(limits=Limits(message_bytes=1000, json_bytes=100))
    assert "value takes" in error_of(b"x" * 2000, codec=codec) and "file on the volume" in error_of(
        "x" * 200, codec=codec
    )


class Odd:
    """Of no module that the resolver knows."""


def test_classes_of_other_modules_are_refused_by_name() -> None:
    said = error_of({"x": Odd()})
    assert "Odd cannot be sent" in said and "not one of the program's own modules" in said
    assert "Odd cannot be sent" in error_of(Odd)


def test_a_class_that_another_has_taken_the_name_of() -> None:
    """In a notebook a cell is run again: objects of the old class would come as ones of the new."""
    module = types.ModuleType("cells")
    exec("class A: pass\nold = A()\nclass A: pass", module.__dict__)
    codec = Codec(Modules({"cells": module}))
    assert "has another class of that name" in error_of(module.old, codec=codec)
    assert type(codec.decode(codec.encode(module.A()))) is module.A


def test_a_script_has_one_name_on_both_sides() -> None:
    """`__main__` here, something else there."""
    source = "class A:\n    def __init__(self): self.x = (1,)\ndef f(): return 5"
    here, there = types.ModuleType("__main__"), types.ModuleType("sheaf_program")
    for module in (here, there):
        exec(source, module.__dict__)
    sender, receiver = Codec(Modules({"word-count.py": here})), Codec(Modules({"word-count.py": there}))
    made, function = receiver.decode(sender.encode([here.A(), here.f]))
    assert type(made) is there.A and made.x == (1,) and function is there.f
    assert type(sender.decode(receiver.encode(made))) is here.A


def test_what_is_not_here_is_named() -> None:
    with pytest.raises(ValueUnreadable, match=r"program\.Plain cannot be found here: the module 'program' is"):
        Codec().decode(CODEC.encode(own.Plain()))
    with pytest.raises(ValueUnreadable, match="cannot be found here: value_classes has no 'Derived'"):
        Codec(Modules({"program": types.ModuleType("value_classes")})).decode(CODEC.encode(own.Derived()))


def test_what_a_class_raises_while_it_is_taken_apart_or_rebuilt_is_told() -> None:
    class Boom(own.Base):
        pass

    module = types.ModuleType("boom")
    exec(
        "class A:\n def __getstate__(self): raise ValueError('no state')\n"
        "class B:\n def __init__(self): self.x = 1\n def __setstate__(self, state): raise KeyError('gone')\n"
        "class C(Exception):\n def __str__(self): raise ValueError\n",
        module.__dict__,
    )
    codec = Codec(Modules({"boom": module}))
    assert "a boom.A cannot be sent: no state" in error_of([module.A()], codec=codec)
    with pytest.raises(ValueUnreadable, match="could not be rebuilt: KeyError: 'gone'"):
        codec.decode(codec.encode(module.B()))
    assert type(codec.decode(codec.encode(module.C()))) is module.C


def test_threads_may_share_a_codec() -> None:
    """Deep values among them, for which Python's stack is made larger."""
    wrong: list[Any] = []
    value = [own.Plain(i, x={i}) for i in range(50)]

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(30):
            sent = dice.choice([value, chain_of(300), {"k": (1, b"x")}])
            with contextlib.suppress(StopIteration):
                if CODEC.encode(CODEC.decode(CODEC.encode(sent))) != CODEC.encode(sent):
                    wrong.append(sent)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    before = sys.getrecursionlimit()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and sys.getrecursionlimit() == before


def test_what_is_encoded_is_not_changed_by_it() -> None:
    value = own.Plain([1], x={"a": (1,)})
    before = repr(vars(value))
    CODEC.encode([value, value])
    assert repr(vars(value)) == before
    buffer = bytearray(b"abc")
    data = CODEC.parts(buffer)
    buffer += b"longer"  # possible while nothing looks at it
    assert CODEC.decode(b"".join(data)) == b"abc"
