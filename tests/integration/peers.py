"""Processes of a program of `sheaf.multiprocessing` without a worker: plain ones, ended here as a worker would."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
import redis

from sheaf.broker.connection import connect
from sheaf.broker.redis_library import function_name
from sheaf.broker.scripts import Script
from sheaf.core.settings import Settings
from sheaf.multiprocessing.member import Member
from sheaf.multiprocessing.objects.manager import SyncManager
from sheaf.multiprocessing.objects.references import use_codec
from sheaf.multiprocessing.program import Program, process_ended
from sheaf.values import Modules

#: Where the functions are that peers run.
TASKS = "tests.integration.peer_tasks"
#: Seconds within which a peer ends, on a busy machine.
PATIENCE_S = 60

_context = multiprocessing.get_context("spawn")


class Peer:
    """A process of the program, and what a worker does for it."""

    def __init__(self, owner: ProgramAtWork, name: str, process: BaseProcess) -> None:
        self._owner, self.name, self._process = owner, name, process

    def join(self) -> int:
        """Wait for its end, and make it known; return its exit code."""
        self._process.join(PATIENCE_S)
        code = self._process.exitcode
        assert code is not None, f"peer {self.name} has not ended"
        process_ended(self._owner.connection, self._owner.program.name, self.name, killed=code < 0)
        return code

    def kill(self) -> None:
        self._process.kill()
        assert self.join() == -signal.SIGKILL

    def stop(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


class ProgramAtWork:
    """A program with its objects and its processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection: redis.Redis = connect(Settings(redis_url=url))
        self.program = Program(self.connection)
        self.member = self.program.member
        use_codec(self.member, modules())
        self.manager = SyncManager(self.member)
        self._names = itertools.count(1)
        self._peers: list[Peer] = []

    def start(self, function: Callable[..., object], *arguments: Any) -> Peer:
        """Have another process call the function."""
        name = str(next(self._names))
        packed = self.member.pack([function.__name__, arguments], name)
        process = _context.Process(target=_run, args=(self.url, self.program.name, name, packed.data, sys.path))
        process.start()
        peer = Peer(self, name, process)
        self._peers.append(peer)
        return peer

    def here(self, name: str, url: str | None = None) -> Member:
        """A process of the program that is this one."""
        member = Member(connect(Settings(redis_url=url or self.url)), self.program.name, name)
        use_codec(member, modules())
        return member

    def close(self) -> None:
        for peer in self._peers:
            peer.end()
        self.program.close()
        self.connection.close()


#: `with when_done(step, exception):` the first such step inside is done in Redis, and its answer never comes.
WhenDone = Callable[[str, type[BaseException]], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def interrupted(step: str, error: type[BaseException]) -> Iterator[None]:
    answer, pending = Script.__call__, [error]

    def run(script: Script, names: Any, arguments: Any) -> Any:
        found = answer(script, names, arguments)
        if pending and script._function == function_name(step):
            raise pending.pop()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Script, "__call__", run)
        yield


def modules() -> Modules:
    return Modules({"tasks": importlib.import_module(TASKS)})


def sent(member: Member, to: Member, value: Any) -> Any:
    """The value, as another process of the program gets it."""
    return to.unpack(member.pack(value, to.process).data)


def _run(url: str, program: str, name: str, data: bytes, path: list[str]) -> None:
    sys.path[:] = path
    with connect(Settings(redis_url=url)) as connection:
        member = Member(connection, program, name)
        use_codec(member, modules())
        function, arguments = member.unpack(data)
        getattr(importlib.import_module(TASKS), function)(*arguments)
        member.close()
