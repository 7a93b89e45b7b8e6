"""Whether a Redis has the Lua flaw that lets a user who may load scripts run code in the server (CVE-2025-49844).

It matters where users other than the server's owner may load scripts. In the stack none may; the embedded Redis
belongs to the user who started it. So only a worker on another Redis reports it.
"""

from __future__ import annotations

from typing import Any

import redis

from sheaf.broker import keys
from sheaf.broker.redis_library import function_name

#: The first version of each series without the flaw; `services/redis/check-version.sh` has the same.
MENDED = {
    "redis": ("6.2.20", "7.2.11", "7.4.6", "8.0.4", "8.2.2"),
    "valkey": ("7.2.11", "8.0.6", "8.1.4"),
}


def wanted_version(server: str, version: str) -> str | None:
    """The version that a flawed server should at least have; None if this one is well."""
    floors = {_numbers(each)[:2]: each for each in MENDED[server]}
    found = _numbers(version)
    wanted = floors.get(found[:2], MENDED[server][-1])
    return None if found >= _numbers(wanted) else wanted


def scripting_flaw(connection: redis.Redis) -> str | None:
    """What a worker has to say about its Redis: it is flawed, and this worker's user may load scripts; else None."""
    if "path" in connection.connection_pool.connection_kwargs:
        return None  # a socket in a folder of this machine: the embedded one, or one's own
    try:
        info: Any = connection.info("server")
        server = "valkey" if "valkey_version" in info else "redis"
        version = str(info[f"{server}_version"])
        wanted = wanted_version(server, version)
        if wanted is None:
            return None
        if _has_our_functions(connection):
            return None  # set up like this it allows no scripts; asking would appear in its log as a refused attempt
        # A harmless one, to see whether one may.
        connection.eval("return 1", 0)
    except (redis.exceptions.RedisError, AttributeError, KeyError, TypeError, ValueError):
        return None  # it cannot be asked, or scripts are not for us
    return (
        f"this is {server} {version}, whose Lua has a flaw (CVE-2025-49844), and this user may load scripts: anyone "
        f"with its password, and every task here, could run code in it. Get {server} {wanted} or newer, unless your "
        "distribution has fixed it; or give this user FCALL instead of EVAL and SCRIPT (services/redis/users.acl.tmpl)"
    )


def _has_our_functions(connection: redis.Redis) -> bool:
    try:
        connection.fcall_ro(function_name("snapshot"), 0, keys.RQ_QUEUE, keys.LEASES, keys.OWNERS)
    except redis.exceptions.ResponseError:
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split(".")[:3])
