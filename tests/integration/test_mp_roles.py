"""Shared objects of `sheaf.multiprocessing` with the rights that the stack's users have in Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.broker import redis_library
from sheaf.broker.connection import connect
from sheaf.core.settings import Settings
from sheaf.multiprocessing.program import process_ended, sweep_programs
from tests.integration.peers import ProgramAtWork
from tests.integration.test_mp_program import use_everything
from tests.support import RedisServer

ACL = Path(redis_library.__file__).parents[2] / "services/redis/users.acl.tmpl"


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_a_role_may_use_everything_that_is_shared(
    own_redis_server: RedisServer, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By functions, as scripts are for none of them; and a program's end can be found by each."""
    (line,) = [line for line in ACL.read_text().splitlines() if line.startswith(f"user {role} ")]
    rules = [word if word != f"{{{role}}}" else ">secret" for word in line.split()[2:]]
    with own_redis_server.client() as admin:
        if int(str(admin.info("server")["redis_version"]).split(".")[0]) < 7:
            pytest.skip("functions came with Redis 7")
        admin.function_load(redis_library.library())
        admin.execute_command("ACL", "SETUSER", role, *rules)
        admin.execute_command("ACL", "SETUSER", "default", "off")
    settings = Settings(redis_url=own_redis_server.url, redis_user=role, redis_password="secret")
    monkeypatch.setattr("tests.integration.peers.connect", lambda _: connect(settings))
    work = ProgramAtWork(own_redis_server.url)
    use_everything(work)
    shared = work.manager.list([3, 1, 2])
    shared.sort()
    shared[0] = 5
    assert [shared.pop(0), shared.pop(), shared[:]] == [5, 3, [2]]
    assert process_ended(work.connection, work.program.name, "1", killed=True)
    assert sweep_programs(work.connection) == []
    work.manager.shutdown()
    work.program.close()
    work.close()
