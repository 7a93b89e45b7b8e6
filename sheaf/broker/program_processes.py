"""Processes of programs, in Redis: a program starts and signals them, workers take them and say what becomes of them.

Redis only says who hosts what. What is run is on the volume, signed (`sheaf/multiprocessing/starts.py`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors, understood
from sheaf.broker.replies import json_object, number, text
from sheaf.broker.scripts import Script

#: Seconds for which a start waits for a worker that hosts fewer processes.
PATIENCE_S = 0.3
#: Bytes of printed text that Redis keeps for a program that does not read it.
OUT_BYTES = 4 << 20
#: Entries of it that a program reads at once.
_ENTRIES = 256
#: Processes of dead workers that are named at once.
_LOST = 200
#: How processes and the signals for them are written in Redis.
_NAMED, _ASKED = re.compile("[0-9a-f]+ [0-9a-f]+"), re.compile("[0-9]{1,3}:[0-9]{1,9}")
_client = threading.local()


class ProcessId(NamedTuple):
    """Which process of which program. Both are made by `new_id()`."""

    program: str
    process: str


def new_id() -> str:
    """A new name for a program or a process: 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Look:
    """What a host learns when it looks."""

    claims: list[ProcessId] = field(default_factory=list)
    #: Those that it hosts and that are no longer its own: it was silent for too long, and counts as dead.
    lost: list[ProcessId] = field(default_factory=list)
    #: By process: the signal, and how often it was asked for.
    signals: Mapping[ProcessId, tuple[int, int]] = field(default_factory=dict)
    #: Programs whose lease is over, and those that have none any more.
    over: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    #: Seconds until a waiting start may be taken by any worker; None if there is none.
    again_s: float | None = None


class HostSteps:
    """What a worker does. Thread-safe."""

    def __init__(self, connection: redis.Redis, worker: str) -> None:
        self._worker = worker
        self._host = Script(connection, "mp_host")
        self._lost = Script(connection, "mp_lost")
        self._report = Script(connection, "mp_report")
        self._print = Script(connection, "mp_print")

    @understood()
    def look(self, hosted: Collection[ProcessId], room: int, lease_s: float) -> Look:
        """Renew the lease, take starts for which there is room, and ask for signals."""
        names = [keys.MP_PROGRAMS, keys.MP_STARTS, keys.MP_HOSTS, *self._own(self._worker)]
        arguments: list[Any] = [self._worker, round(lease_s * 1000), room, round(PATIENCE_S * 1000), keys.MP_CALL]
        answer = json_object(self._host(names, [*arguments, *map(" ".join, hosted)]))
        # Lua has one kind of table: an empty list comes as an empty object.
        again_ms = number(answer["again_ms"], -1)
        return Look(
            claims=[ProcessId(*map(str, pair)) for pair in answer["claims"] or ()],
            lost=[_process_id(name) for name in answer["lost"] or ()],
            signals={_process_id(name): _signal(asked) for name, asked in _well_formed(answer["signals"])},
            over=frozenset(map(str, answer["over"] or ())),
            gone=frozenset(map(str, answer["gone"] or ())),
            again_s=None if again_ms < 0 else again_ms / 1000,
        )

    def running(self, process: ProcessId, pid: int) -> bool:
        """Say that the process runs. False if it is no longer this worker's."""
        return self._say(self._worker, process, "pid", pid)

    def ended(self, process: ProcessId, exit_code: int, worker: str | None = None) -> bool:
        """Say that the process has ended, one of this worker or of another that is gone."""
        return self._say(worker or self._worker, process, "exitcode", exit_code)

    @understood()
    def lost(self) -> list[tuple[str, ProcessId]]:
        """Processes of workers that are gone, with the worker."""
        found = list(map(text, self._lost([keys.MP_HOSTS], [_LOST])))
        return [(worker, _process_id(name)) for worker, name in zip(found[::2], found[1::2], strict=True)]

    def print(self, program: str, batch: int, entries: Sequence[bytes]) -> bool | None:
        """Pass on printed text. False if there is no room for it now, None if there is no such program any more.

        `batch`: a number that grows with each batch that was taken, by which one is known that comes again.
        """
        names = [
            keys.MP_PROGRAMS,
            keys.of_program(program, keys.MP_KEYS),
            keys.of_program(program, keys.MP_OUT),
            keys.of_program(program, keys.MP_OUT_STATE),
        ]
        arguments: list[Any] = [
            program,
            self._worker,
            batch,
            OUT_BYTES,
            keys.of_program(program, keys.MP_HOSTING),
            *entries,
        ]
        answer = text(self._print(names, arguments))
        return None if answer == "!" else answer == "+"

    def _say(self, worker: str, process: ProcessId, what: str, value: int) -> bool:
        hosted, signals = self._own(worker)
        return bool(
            self._report(
                [keys.of_program(process.program, keys.MP_PROCESSES), hosted, signals],
                [worker, *process, what, value, keys.of_program(process.program, keys.MP_HOSTING)],
            )
        )

    def _own(self, worker: str) -> tuple[str, str]:
        return keys.MP_HOSTED_PREFIX + worker, keys.MP_SIGNALS_PREFIX + worker


class ProgramSteps:
    """What a program does. Thread-safe."""

    def __init__(self, connection: redis.Redis, program: str) -> None:
        self._connection = connection
        self._program = program
        self._processes = keys.of_program(program, keys.MP_PROCESSES)
        self._wake = keys.of_program(program, keys.MP_HOSTING)
        self._start = Script(connection, "mp_start")
        self._signal = Script(connection, "mp_signal")
        self._printed = Script(connection, "mp_printed")

    def start(self, process: str, entry: Mapping[str, str]) -> bool:
        """Have a process wait for a worker. False if the program has no lease."""
        content = json.dumps({**entry, "state": "waiting"}, ensure_ascii=False).encode(errors="backslashreplace")
        names = [keys.MP_PROGRAMS, self._processes, keys.of_program(self._program, keys.MP_KEYS), keys.MP_STARTS]
        arguments: list[Any] = [secrets.token_hex(8), self._program, process, content, keys.MP_CALL]
        answer = text(self._start([_client_key(), *names], arguments))
        return answer == "+"

    def signal(self, process: str, number: int) -> bool:
        """Have a process sent a signal; one that waits ends at once. False if it neither waits nor runs."""
        number = int(number)  # the text of a `signal.Signals` is its name
        arguments: list[Any] = [secrets.token_hex(8), self._program, process, number, self._wake, keys.MP_CALL]
        return text(self._signal([_client_key(), self._processes], arguments)) == "+"

    @understood()
    def entries(self, processes: Sequence[str]) -> list[Mapping[str, Any]]:
        """How processes are, in order; nothing of one that Redis does not know."""
        if not processes:
            return []
        with redis_errors():
            found: Any = self._connection.hmget(self._processes, list(processes))
        return [dict(json.loads(each)) if each is not None else {} for each in found]

    def forget(self, processes: Sequence[str]) -> None:
        """The program knows how these have ended."""
        if processes:
            with redis_errors():
                self._connection.hdel(self._processes, *processes)

    @understood()
    def printed(self, had: int) -> tuple[int, list[bytes]]:
        """Return what was printed after the entry of that number, and the number of the last entry that is returned."""
        names = [keys.of_program(self._program, keys.MP_OUT), keys.of_program(self._program, keys.MP_OUT_STATE)]
        first, *entries = self._printed(names, [had, _ENTRIES])
        return int(first) + len(entries) - 1, list(map(bytes, entries))


def _well_formed(signals: Any) -> list[tuple[str, str]]:
    """Anyone who can write to Redis can write nonsense there."""
    return [(name, asked) for name, asked in signals.items() if _NAMED.fullmatch(name) and _ASKED.fullmatch(asked)]


def _process_id(name: str) -> ProcessId:
    return ProcessId(*name.split(" "))


def _signal(asked: str) -> tuple[int, int]:
    signal, _, count = asked.partition(":")
    return int(signal), int(count)


def _client_key() -> str:
    """One per thread: requests of one client come one after the other. A forked process is another client."""
    if getattr(_client, "pid", None) != os.getpid():
        _client.pid, _client.id = os.getpid(), secrets.token_hex(8)
    return keys.CLIENT_PREFIX + str(_client.id)
