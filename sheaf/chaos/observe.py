"""What is measured from outside: how long nothing was written, how soon a dead worker's batches ran again, and how
soon work went on after Redis was away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import redis

from sheaf.broker import keys
from sheaf.chaos.cluster import RedisServer

#: Seconds between two looks into Redis.
LOOK_S = 0.02
#: Faults after which Redis is started again.
_ENDS_REDIS = ("redis-restart", "redis-outage", "redis-lost-second", "redis-damaged", "redis-empty", "kill-everything")


class Stalls:
    """The longest time during which the output did not grow, from its first byte on."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._size = 0
        self._since = 0.0
        self.longest_s = 0.0

    def grew_since(self, moment: float) -> bool:
        """Whether anything was written since then (monotonic)."""
        return self._since >= moment

    @property
    def began(self) -> bool:
        """Whether anything was ever written."""
        return self._size > 0

    def look(self, now: float) -> None:
        try:
            size = self._output.stat().st_size
        except FileNotFoundError:
            return
        if self._size > 0:
            self.longest_s = max(self.longest_s, now - self._since)
        if size != self._size:
            self._size, self._since = size, now


class Problems:
    """What the workers say of the runs, in Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = cast(Any, client)

    def forget(self) -> None:
        """What was said before is not meant."""
        try:
            for key in self._client.scan_iter(keys.PROBLEM_PREFIX + "*"):
                self._client.delete(key)
        except redis.exceptions.RedisError:
            return

    def shown(self) -> bool:
        """Whether a problem is shown; True without Redis, where none can be."""
        try:
            return next(iter(self._client.scan_iter(keys.PROBLEM_PREFIX + "*")), None) is not None
        except redis.exceptions.RedisError:
            return True


class Returns:
    """How many seconds after Redis was back from a fault the next batch is claimed: work goes on."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._starts = 1
        #: The fault that Redis is away by, or was emptied by.
        self._fault = ""
        #: Since when it is back (monotonic); None: nothing to wait for.
        self._since: float | None = None
        #: Batch id -> how often it was claimed, as seen first after that; None: not seen yet.
        self._before: dict[bytes, bytes] | None = None
        self._next_look = 0.0
        self.seconds: list[tuple[str, float]] = []

    def note(self, fault: str) -> None:
        """Call it just after the fault was injected."""
        if fault == "redis-flush":
            self._begin(fault, time.monotonic())
        elif fault in _ENDS_REDIS:
            self._fault = fault

    def look(self, now: float) -> None:
        if self._server.starts > self._starts:
            self._starts = self._server.starts
            self._begin(self._fault, self._server.started_at)
        if self._since is None or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        try:
            # Not the owners: a worker's renewal brings those back without a claim.
            claims: dict[bytes, bytes] = cast(Any, self._server.client).hgetall(keys.CLAIMS)
        except redis.exceptions.RedisError:
            return
        if self._before is None:
            self._before = claims
        elif claims.items() - self._before.items():
            self.seconds.append((self._fault, round(time.monotonic() - self._since, 3)))
            self._since = None

    def _begin(self, fault: str, since: float) -> None:
        self._fault, self._since, self._before, self._next_look = fault, since, None, 0.0


class Reruns:
    """How many seconds after a worker's kill -9 each batch that it held is claimed by another one."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = cast(Any, client)
        #: Batch id -> (when its worker was killed, that worker's id).
        self._waiting: dict[bytes, tuple[float, bytes]] = {}
        self._next_look = 0.0
        self.seconds: list[float] = []

    def holders(self) -> set[str]:
        """The labels of the workers that hold batches."""
        return {owner.decode().rpartition("-")[0] for owner in self._owners().values()}

    def shown(self) -> set[str]:
        """The labels of the workers that have shown themselves."""
        try:
            ids: list[bytes] = self._client.zrange(keys.WORKERS, 0, -1)
        except redis.exceptions.RedisError:
            return set()
        return {name.decode().rpartition("-")[0] for name in ids}

    def note_kill(self, label: str) -> None:
        """Call it just before the kill."""
        owners, now = self._owners(), time.monotonic()
        for name, owner in owners.items():
            if owner.startswith(f"{label}-".encode()):
                self._waiting[name] = (now, owner)

    def _owners(self) -> dict[bytes, bytes]:
        try:
            found: dict[bytes, bytes] = self._client.hgetall(keys.OWNERS)
        except redis.exceptions.RedisError:
            return {}
        return found

    def look(self, now: float) -> None:
        if not self._waiting or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        names = list(self._waiting)
        try:
            owners = self._client.hmget(keys.OWNERS, names)
        except redis.exceptions.RedisError:
            return
        for name, owner in zip(names, owners, strict=True):
            killed_at, dead = self._waiting[name]
            if owner is not None and owner != dead:
                self.seconds.append(round(time.monotonic() - killed_at, 3))
                del self._waiting[name]
