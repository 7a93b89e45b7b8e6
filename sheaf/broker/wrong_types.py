"""Keys of ours that hold something of another type than they should: they are removed, and what failed is done again.

Nothing is lost by it: all that these keys hold can be had again from the volume. What programs share is theirs, and is
left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import redis

from sheaf.broker import keys
from sheaf.broker.replies import text

logger = logging.getLogger(__name__)

T = TypeVar("T")


def mended(connection: redis.Redis, names: Iterable[object], step: Callable[[], T]) -> T:
    """Do a step that uses keys of these names, and do it again if one of them was of a wrong type.

    Raises redis-py's errors. `names` may hold other texts too, which are passed over.
    """
    try:
        return step()
    except redis.exceptions.ResponseError as error:
        if "WRONGTYPE" not in str(error) or not _remove_odd(connection, names):
            raise
    return step()


def _remove_odd(connection: redis.Redis, names: Iterable[object]) -> bool:
    """Remove the keys that are not of their type; False if there are none, or they are not ours to remove."""
    removed = []
    for name in names:
        wanted = keys.type_of(name) if isinstance(name, str) else None
        if wanted is None or not isinstance(name, str):
            continue
        try:
            found = text(_type(connection, name))
            if found not in ("none", wanted):
                connection.delete(name)
                removed.append(f"{name} (a {found}, not a {wanted})")
        except redis.exceptions.NoPermissionError:
            # Read-only callers change nothing; the worker that uses the key does.
            continue
    if removed:
        logger.warning("removed keys of the wrong type from Redis", extra={"action": "mend", "keys": removed})
    return bool(removed)


def _type(connection: redis.Redis, name: str) -> Any:
    return connection.type(name)
