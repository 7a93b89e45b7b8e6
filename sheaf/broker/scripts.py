"""Runs the atomic steps in Redis: as functions where Redis has them, as scripts where it may be given some."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import redis

from sheaf.broker.connection import redis_errors
from sheaf.broker.redis_library import STEPS, function_name, library_name
from sheaf.broker.wrong_types import mended
from sheaf.core.errors import RedisDenied

#: Connections without our functions: a Redis before 7, or one on which they were not loaded.
_without_functions: weakref.WeakSet[redis.ConnectionPool] = weakref.WeakSet()


class Script:
    """One step of `sheaf.broker.redis_library`. Thread-safe.

    Every step here bears a replay: run twice, it leaves the same state and gives the same answer. So when the
    connection breaks before the answer is here, it is sent once more; only if that fails too, a ClusterError is raised.
    """

    def __init__(self, connection: redis.Redis, step: str) -> None:
        self._connection = connection
        self._pool = connection.connection_pool
        self._reads = "no-writes" in STEPS[step].flags
        self._function = function_name(step)
        self._script = connection.register_script(STEPS[step].text)

    def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        with redis_errors():
            try:
                return self._run(keys, args)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                return self._run(keys, args)

    def _run(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        return mended(self._connection, [*keys, *args], lambda: self._send(keys, args))

    def _send(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        has_functions = False
        if self._pool not in _without_functions:
            call: Any = self._connection.fcall_ro if self._reads else self._connection.fcall
            try:
                return call(self._function, len(keys), *keys, *args)
            except redis.exceptions.ResponseError as error:
                if not _is_missing(error):
                    raise
                has_functions = _NOT_FOUND in str(error).lower()
        try:
            answer = self._script(keys, args)
        except redis.exceptions.NoPermissionError as error:
            # Scripts are not for this user: functions may be, once they are there.
            _without_functions.discard(self._pool)
            if not has_functions:
                raise
            raise RedisDenied(
                f"Redis does not have the functions of this version of Sheaf ({library_name()}), and this user may not "
                "load scripts in their place. The stack's Redis loads them when it starts: "
                "`docker compose up -d --build redis`; load them into another Redis with "
                "`python -m sheaf.broker.redis_library | redis-cli -x FUNCTION LOAD`"
            ) from error
        _without_functions.add(self._pool)
        return answer


#: What a Redis says that has functions, but not this one.
_NOT_FOUND = "function not found"


def _is_missing(error: redis.exceptions.ResponseError) -> bool:
    """Whether the answer is that there are no functions, that this one is missing, or that they are not for us."""
    text = str(error).lower()
    return text.startswith(("unknown command", _NOT_FOUND)) or "'fcall" in text
