"""Shared objects of `sheaf.multiprocessing` when replies are lost: a step that is sent again changes nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import Any

import pytest

from sheaf.broker import redis_library
from sheaf.multiprocessing.member import LARGE_BYTES
from sheaf.multiprocessing.objects.barrier import Barrier
from sheaf.multiprocessing.objects.connection import Pipe
from sheaf.multiprocessing.objects.locks import RLock, Semaphore
from sheaf.multiprocessing.objects.memory import Value
from sheaf.multiprocessing.objects.queues import JoinableQueue
from tests.integration.peers import ProgramAtWork, sent
from tests.support import ReplyLosingProxy

STEPS: dict[str, tuple[Callable[[Any], Any], Any, Callable[[Any], Any], Any]] = {
    # Name: what is done while its reply is lost, what it returns, what is looked at then, and what that gives.
    "put": (lambda o: o["queue"].put("new"), None, lambda o: o["queue"].qsize(), 2),
    "take": (lambda o: o["queue"].get(), "old", lambda o: o["queue"].qsize(), 0),
    "done": (lambda o: o["queue"].task_done(), None, lambda o: o["queue"].join(), None),
    "acquire": (lambda o: o["semaphore"].acquire(False), True, lambda o: o["semaphore"].get_value(), 4),
    "release": (lambda o: o["semaphore"].release(), None, lambda o: o["semaphore"].get_value(), 6),
    "rlock": (lambda o: o["rlock"].acquire(), True, lambda o: o["rlock"].release(), None),
    "send": (
        lambda o: o["ends"][1].send("new"),
        None,
        lambda o: [o["ends"][0].recv(), o["ends"][0].poll()],
        ["new", False],
    ),
    "receive": (lambda o: o["ends"][1].recv(), "old", lambda o: o["ends"][1].poll(), False),
    "append": (lambda o: o["list"].append(2), None, lambda o: o["list"][:], [1, 2]),
    "list pop": (lambda o: o["list"].pop(), 1, lambda o: o["list"][:], []),
    "insert": (lambda o: o["list"].insert(0, 0), None, lambda o: o["list"][:], [0, 1]),
    "dict pop": (lambda o: o["dict"].pop("a"), 1, lambda o: o["dict"].copy(), {}),
    "popitem": (lambda o: o["dict"].popitem(), ("a", 1), lambda o: o["dict"].copy(), {}),
    "default": (lambda o: o["dict"].setdefault("b", 2), 2, lambda o: o["dict"].copy(), {"a": 1, "b": 2}),
    "value": (lambda o: setattr(o["value"], "value", 7), None, lambda o: o["value"].value, 7),
    "barrier": (lambda o: o["barrier"].wait(), 0, lambda o: o["barrier"].n_waiting, 0),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_change_whose_reply_is_lost_is_made_once(
    work: ProgramAtWork, losing_proxy: ReplyLosingProxy, name: str
) -> None:
    act, returns, look, then = STEPS[name]
    member, shaky = work.member, work.here("1", losing_proxy.url)
    ends = Pipe(member)
    made = {
        "queue": JoinableQueue(member),
        "semaphore": Semaphore(member, 5),
        "rlock": RLock(member),
        "ends": ends,
        "list": work.manager.list([1]),
        "dict": work.manager.dict(a=1),
        "value": Value(member, "i", 1),
        "barrier": Barrier(member, 1),
    }
    there = sent(member, shaky, made)
    made["queue"].put("old")
    made["ends"][0].send("old")
    if name == "done":
        there["queue"].get()
    if name == "send":
        there["ends"][1].recv()
    losing_proxy.lose_step()

    assert act(there) == returns

    assert losing_proxy.lost == 1
    assert look(there if name == "rlock" else made if name != "receive" else there) == then
    if name == "rlock":
        assert made["rlock"].acquire(False)


def test_a_large_value_whose_replies_are_lost_comes_once(work: ProgramAtWork, losing_proxy: ReplyLosingProxy) -> None:
    """Whichever of its steps it is: making room, filling it, putting it, taking it, fetching it."""
    values = JoinableQueue(work.member)
    shaky = sent(work.member, work.here("1", losing_proxy.url), values)
    data = b"x" * (LARGE_BYTES + 1)
    for word in ("mp_room", "SET", "mp_put"):
        losing_proxy.lose(_word(losing_proxy, word))
        shaky.put(data)
    for word in ("mp_take", "GET"):
        losing_proxy.lose(_word(losing_proxy, word))
        assert shaky.get() == data
    assert shaky.get() == data
    assert values.empty()
    assert losing_proxy.lost == 5
    left: Any = work.connection.keys(work.member.key("v:*"))
    assert left == []


def _word(proxy: ReplyLosingProxy, step: str) -> str:
    """Something that is in that step's request only."""
    if not step.startswith("mp_"):
        return f"${len(step)}\r\n{step}\r\n"
    return sha1(redis_library.STEPS[step].text.encode()).hexdigest()
