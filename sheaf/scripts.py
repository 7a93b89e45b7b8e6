"""The atomic steps in Redis: the files in `sheaf/lua`, run by their digest."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import redis

from sheaf.connection import redis_errors
from sheaf.mend import mended


class Script:
    """One Lua script, or several files that make one. Thread-safe.

    Every script here bears a replay: run twice, it leaves the same state and gives the same answer. So when the
    connection breaks before the answer is here, it is sent once more; only if that fails too, a ClusterError is raised.
    """

    def __init__(self, connection: redis.Redis, *names: str) -> None:
        folder = files("sheaf") / "lua"
        text = "\n".join((folder / f"{name}.lua").read_text() for name in names)
        self._connection = connection
        self._script = connection.register_script(text)

    def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        with redis_errors():
            try:
                return self._run(keys, args)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                return self._run(keys, args)

    def _run(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        return mended(self._connection, [*keys, *args], lambda: self._script(keys, args))
