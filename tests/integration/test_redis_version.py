"""A worker says so if its Redis has a flaw that its own user could use."""

from __future__ import annotations

from typing import Any

import redis

from sheaf.broker.connection import connect
from sheaf.broker.redis_version import scripting_flaw, wanted_version
from sheaf.core.settings import Settings
from tests.support import ReplyLosingProxy


def test_a_flaw_is_told_where_this_user_may_load_scripts(
    connection: redis.Redis, losing_proxy: ReplyLosingProxy
) -> None:
    """By the network, and with that right; not by the socket of a user's own Redis, nor if scripts are not for him."""
    server: Any = connection.info("server")
    connection.execute_command("ACL", "SETUSER", "few", "reset", "on", ">right", "~*", "&*", "+@all", "-@scripting")
    few = Settings(redis_url=losing_proxy.url, redis_user="few", redis_password="right")

    with losing_proxy.client() as client, connect(few) as restricted:
        flaw = scripting_flaw(client)
        assert scripting_flaw(restricted) is None
    connection.execute_command("ACL", "DELUSER", "few")

    name = "valkey" if "valkey_version" in server else "redis"
    wanted = wanted_version(name, server[f"{name}_version"])
    assert (flaw is None) == (wanted is None)
    assert wanted is None or f"{name} {wanted} or newer" in str(flaw)
    if "path" in connection.connection_pool.connection_kwargs:
        assert scripting_flaw(connection) is None


def test_a_redis_that_cannot_be_asked_is_not_judged() -> None:
    """A worker waits for it; this is no reason to end."""
    with connect(Settings(redis_url="redis://127.0.0.1:1/0")) as refused:
        assert scripting_flaw(refused) is None
