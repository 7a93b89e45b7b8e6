"""Who is there and what is wrong: the workers' entries and the runs' problems, in Redis, for people; it all expires."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from sheaf.broker import keys
from sheaf.broker.connection import redis_errors, understood
from sheaf.broker.replies import amount, fields, number, text
from sheaf.broker.scripts import Script
from sheaf.broker.wrong_types import mended
from sheaf.core.errors import RedisReadOnly

#: Seconds between two beats of a worker that does not say.
BEAT_S = 5.0
#: Cores or processes that one worker may say it has.
MOST_PROCESSES = 10_000


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live worker, as it describes itself."""

    id: str
    #: What the worker passed to `announce()`, as text.
    fields: Mapping[str, str]
    #: Seconds since its last beat.
    silent_s: float

    @property
    def label(self) -> str:
        """The name to show for it."""
        return self.fields.get("label", self.id)

    @property
    def silent(self) -> bool:
        """Whether it has missed two beats, so that it is stopped, cut off or dead."""
        return self.silent_s > 2 * amount(self.fields.get("beat_s"), BEAT_S) + 1

    def number(self, name: str, default: int = 0) -> int:
        """A field that should be a count; `default` if it is none, or not there."""
        return max(0, number(self.fields.get(name), default))

    def few(self, name: str, default: int = 0) -> int:
        """The same for counts, where an absurdly large one would make the reader work without end."""
        return min(self.number(name, default), MOST_PROCESSES)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a run does not go on."""

    text: str
    #: Who found it.
    worker: str
    #: Seconds since it was first seen.
    since_s: float
    #: The output is not what its index says: a person has to look before the run goes on.
    refused: bool = False


class WorkerRegistry:
    """Entries and problems. Thread-safe. Writing goes on when Redis is full, so that people can see that it is."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self._announce = Script(connection, "announce")
        self._problem = Script(connection, "problem")
        self._birth = rq_time()

    @understood()
    def announce(self, worker: str, fields: Mapping[str, str], ttl_s: float) -> None:
        """Show a worker's entry for `ttl_s` seconds, here and in `rq info`; call it again before they are over."""
        entry = [part for pair in fields.items() for part in pair]
        rq_entry = [part for pair in self._rq_entry(fields).items() for part in pair]
        self._announce(_entry_keys(worker), [worker, round(ttl_s * 1000), len(entry), *entry, *rq_entry])

    def leave(self, worker: str) -> None:
        """Take a worker's entry away."""
        entry, entries, rq_entry, rq_workers, rq_queue_workers = _entry_keys(worker)
        # No MULTI: Redis refuses it when it is full. Each of these bears a replay, and their order does not matter.
        with redis_errors(), self._connection.pipeline(transaction=False) as pipe:
            pipe.delete(entry, rq_entry)
            pipe.zrem(entries, worker)
            pipe.srem(rq_workers, rq_entry)
            pipe.srem(rq_queue_workers, rq_entry)
            pipe.execute()

    @understood()
    def workers(self) -> list[WorkerInfo]:
        """The live workers, by label."""
        with redis_errors():
            now_ms = self._now_ms()
            ids: Any = self._read(keys.WORKERS, lambda: self._connection.zrange(keys.WORKERS, 0, -1))
            with self._connection.pipeline(transaction=False) as pipe:
                for name in ids:
                    pipe.hgetall(keys.WORKER_PREFIX.encode() + name)
                # One odd entry hides no other.
                hashes = pipe.execute(raise_on_error=False)
        entries = []
        for name, content in zip(ids, hashes, strict=True):
            entry = fields(content)
            # A worker that is gone has no hash any more; the next beat of any other takes it off the list.
            if entry:
                entries.append(WorkerInfo(text(name), entry, max(0, now_ms - number(entry.pop("seen_ms", 0))) / 1000))
        return sorted(entries, key=lambda entry: (entry.label, entry.id))

    @understood()
    def set_problem(self, run: str, text: str, worker: str, ttl_s: float, *, refused: bool = False) -> None:
        """Say for `ttl_s` seconds why a run does not go on; `refused`: nor will it until a person has looked."""
        self._problem([keys.PROBLEM_PREFIX + run], [text, worker, round(ttl_s * 1000), int(refused)])

    @understood()
    def problem(self, run: str) -> Problem | None:
        """Why a run does not go on; None if no worker says so."""
        with redis_errors():
            key = keys.PROBLEM_PREFIX + run
            noted = fields(self._read(key, lambda: self._connection.hgetall(key)))
            if not noted:
                return None
            now_ms = self._now_ms()
        return Problem(
            text=noted.get("problem") or "a problem was noted without saying which",
            worker=noted.get("worker", ""),
            since_s=max(0, now_ms - number(noted.get("since_ms"), now_ms)) / 1000,
            refused=noted.get("refused") == "1",
        )

    def clear_problem(self, run: str) -> None:
        """The run goes on again."""
        with redis_errors():
            self._connection.delete(keys.PROBLEM_PREFIX + run)

    def _read(self, key: str, read: Callable[[], object]) -> object:
        return mended(self._connection, [key], read)

    def refusal(self) -> str | None:
        """Why Redis takes no changes, if it takes none: entries and problems then expire even of live workers.

        A full disk (MISCONF), a read-only replica; not a full memory, in which entries are still shown.
        """
        try:
            with redis_errors():
                # A change that changes nothing.
                self._connection.delete(keys.PROBLEM_PREFIX)
        except RedisReadOnly as error:
            return str(error)
        return None

    def _now_ms(self) -> int:
        seconds, micros = self._connection.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def _rq_entry(self, fields: Mapping[str, str]) -> dict[str, str]:
        """RQ's hash for a worker, without RQ's worker object.

        That object would change the timeout of our connections, refuse to be registered twice (as a replay does),
        leave half an entry in a Redis that lost its data, and fail in one that is full.
        """
        return {
            "birth": self._birth,
            "last_heartbeat": rq_time(),
            "queues": keys.QUEUE,
            "pid": str(os.getpid()),
            "hostname": fields.get("host") or fields.get("label") or socket.gethostname(),
            "ip_address": "unknown",
            "state": fields.get("state", "?"),
        }


def rq_time() -> str:
    """The present moment as RQ writes it; shown to people, never compared."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())


def _entry_keys(worker: str) -> tuple[str, str, str, str, str]:
    return (
        keys.WORKER_PREFIX + worker,
        keys.WORKERS,
        keys.RQ_WORKER_PREFIX + worker,
        keys.RQ_WORKERS,
        keys.RQ_QUEUE_WORKERS,
    )
