"""What is measured from outside: how long nothing was written, and how soon a dead worker's batches ran again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import redis

from sheaf import keys

#: Seconds between two looks into Redis.
LOOK_S = 0.02


class Stalls:
    """The longest time during which the output did not grow, from its first byte on."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._size = 0
        self._since = 0.0
        self.longest_s = 0.0

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


class Reruns:
    """How many seconds after a worker's kill -9 each batch that it held is claimed by another one."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = cast(Any, client)
        #: Batch id -> (when its worker was killed, that worker's id).
        self._waiting: dict[bytes, tuple[float, bytes]] = {}
        self._next_look = 0.0
        self.seconds: list[float] = []

    def note_kill(self, label: str) -> None:
        """Call it just before the kill."""
        try:
            owners = self._client.hgetall(keys.OWNERS)
        except redis.exceptions.RedisError:
            return
        now = time.monotonic()
        for name, owner in owners.items():
            if owner.startswith(f"{label}-".encode()):
                self._waiting[name] = (now, owner)

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
