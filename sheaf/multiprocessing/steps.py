"""The atomic steps of one process of a program: each is done once, also when a reply is lost or Redis is away.

A step either does what it is asked to or answers "not now"; none of them blocks. How to wait is in `member.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import redis

from sheaf.broker import keys
from sheaf.broker.scripts import Script
from sheaf.core.errors import ClusterError, ProgramEnded, RedisUnavailable

T = TypeVar("T")
Argument = str | int | bytes

#: Seconds for which Redis may be away before that is an error.
PATIENCE_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5
#: How the steps say that something is not there any more.
_GONE = {
    "MPGONE program": "the program {program} has ended, or did not renew its lease for 15 s, or Redis was emptied: "
    "what it shared was removed. Start it again",
    "MPGONE process": "this process ({process}) was taken for dead, because its worker was not heard of: what it held "
    "went on to others, so that it may not touch shared objects any more",
    "MPGONE object": "the shared object is not there any more: it was deleted, its manager was shut down, or Redis was "
    "emptied",
    "MPGONE value": "a large value was removed before it was put: this process was stopped for ten minutes, or Redis "
    "was emptied; put it again",
}


def patiently(act: Callable[[], T]) -> T:
    """Do what bears repeating, again and again while Redis is away. Raises RedisUnavailable after some seconds."""
    deadline: float | None = None
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return act()
        except RedisUnavailable as error:
            deadline = deadline or time.monotonic() + PATIENCE_S
            if time.monotonic() + pause_s > deadline:
                raise RedisUnavailable(f"{error} (waited {PATIENCE_S:g} s for it to come back)") from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class Client:
    """One call after another: a request of it that is repeated is answered as it was the first time."""

    def __init__(self, steps: Steps, name: str) -> None:
        self._steps = steps
        #: Its name in Redis, which begins with that of its process.
        self.name = name
        #: The request that was sent last.
        self.request = ""

    def __call__(self, step: str, objects: Sequence[str] = (), arguments: Sequence[Argument] = ()) -> Any:
        """Raises ClusterError; ProgramEnded if the program, this process or the object is gone."""
        self.request = secrets.token_hex(8)
        names = [keys.MP_PROGRAMS, self._steps.clients_key, *objects]
        values: Any = [self.name, self.request, *arguments]
        script = self._steps.script(step)
        try:
            return patiently(lambda: script(names, values))
        except ClusterError as error:
            raise self._steps.explained(error) from error


class Steps:
    """The steps of one process; its threads may take some at once."""

    def __init__(self, connection: redis.Redis, program: str, process: str) -> None:
        self.program, self.process = program, process
        self.clients_key = keys.of_program(program, keys.MP_CLIENTS)
        self._connection = connection
        self._scripts: dict[str, Script] = {}
        self._become_another()
        _alive.add(self)

    def script(self, step: str) -> Script:
        found = self._scripts.get(step)
        if found is None:
            found = self._scripts[step] = Script(self._connection, step)
        return found

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client that no other thread uses meanwhile."""
        free = self._free
        try:
            client = free.pop()
        except IndexError:
            client = Client(self, f"{self.process}/{self.incarnation}.{next(self._numbers)}")
        yield client
        # After an error its last request may still be on its way: it is not used again.
        free.append(client)

    def __call__(self, step: str, objects: Sequence[str] = (), arguments: Sequence[Argument] = ()) -> Any:
        with self.client() as client:
            return client(step, objects, arguments)

    def explained(self, error: ClusterError) -> ClusterError:
        for sign, text in _GONE.items():
            if sign in str(error):
                return ProgramEnded(text.format(program=self.program, process=self.process))
        return error

    def _become_another(self) -> None:
        #: What tells this operating system's process from those forked off it.
        self.incarnation = secrets.token_hex(4)
        self._free: list[Client] = []
        # (To take the next number is one step for threads, too.)
        self._numbers = itertools.count(1)


_alive: weakref.WeakSet[Steps] = weakref.WeakSet()


def _after_fork() -> None:
    for steps in list(_alive):
        steps._become_another()


os.register_at_fork(after_in_child=_after_fork)
