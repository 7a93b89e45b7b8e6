"""What a container of the stack may not do."""

from __future__ import annotations

import pytest

from tests.compose.stack import Stack, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SERVICES = ["redis", "worker", "site"]

#: What runs in a container, where redis-py is.
CONNECT_REDIS = """
import redis, time
r = redis.Redis('redis', username={role!r}, password=open('/creds/{role}').read().strip())
"""

#: Prints what becomes of each command.
TRY_COMMANDS = """
for words in {commands!r}:
    try:
        r.execute_command(*words)
        print('OK', *words)
    except redis.exceptions.NoPermissionError:
        print('DENIED', *words)
    except redis.exceptions.ResponseError as error:
        print('DENIED' if 'ACL failure in script' in str(error) else error, *words)
"""

WRITE_PROBES = """
with r.pipeline() as pipe:
    pipe.set('sheaf:probe:1', 1)
    pipe.set('sheaf:probe:2', 2)
    pipe.execute()
script = r.register_script('redis.call("SET", KEYS[1], 3) redis.call("SET", KEYS[2], 4)')
script(['sheaf:probe:3', 'sheaf:probe:4'])
time.sleep(1.5)  # it is in Redis's file within a second
"""

CONNECT = """
import socket
try:
    socket.create_connection(({address!r}, {port}), timeout=3).close()
    print('open')
except OSError as error:
    print('closed')
"""


@pytest.mark.parametrize("service", SERVICES)
def test_containers_run_without_rights(stack: Stack, service: str) -> None:
    """Not root, no capabilities, no way to gain any, nothing of the image can be changed."""
    for container in stack.containers(service):
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert not host["Privileged"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert not container["NetworkSettings"]["Ports"] or not any(container["NetworkSettings"]["Ports"].values())
    status = stack.compose("exec", "-T", service, "cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in fields["Uid"].split()
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert "Read-only file system" in stack.compose("exec", "-T", service, "touch", "/probe", check=False).stderr


def test_the_producer_runs_without_rights(stack: Stack) -> None:
    """The same for the container that a person starts by hand; lists and tasks are read-only in it."""
    printed = stack.producer_python(
        "import os; print(os.getuid(), os.getgid()); print(open('/proc/self/status').read())\n"
        "for path in ('/probe', '/lists/probe', '/tasks/probe'):\n"
        "    try: open(path, 'w')\n"
        "    except OSError as error: print(path, error.strerror)"
    )

    assert printed.startswith("10002 10001\n")
    assert "CapEff:\t0000000000000000" in printed
    assert "/probe Read-only file system" in printed
    assert "/lists/probe Read-only file system" in printed
    assert "/tasks/probe Read-only file system" in printed


def test_no_worker_can_change_the_tasks(stack: Stack) -> None:
    """What one worker's item could write there, all others would run."""
    tried = stack.compose("exec", "-T", "worker", "touch", "/tasks/probe", check=False)
    assert "Read-only file system" in tried.stderr


def test_redis_cannot_be_reached_from_outside_its_network(stack: Stack) -> None:
    """The site shares a network with the workers, not with Redis: neither by name nor by address."""
    redis = stack.containers("redis")[0]
    (network,) = redis["NetworkSettings"]["Networks"].values()

    for address in ("redis", network["IPAddress"]):
        assert stack.python("site", CONNECT.format(address=address, port=6379)).strip() == "closed"
    assert stack.python("worker", CONNECT.format(address="redis", port=6379)).strip() == "open"


def test_redis_and_the_producer_have_no_way_out(stack: Stack) -> None:
    """Their network is internal: what lies on the other network, like all the world, is out of reach."""
    site = stack.containers("site")[0]
    (network,) = site["NetworkSettings"]["Networks"].values()
    address = network["IPAddress"]

    assert stack.producer_python(CONNECT.format(address=address, port=8000)).strip() == "closed"
    probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/8000'"
    assert stack.compose("exec", "-T", "redis", "sh", "-c", probe, check=False).returncode != 0
    assert stack.compose("exec", "-T", "worker", "sh", "-c", probe).returncode == 0


def test_nobody_talks_to_redis_without_a_password(stack: Stack) -> None:
    """The default user is off; the health check's user may say PING and nothing else."""
    anonymous = stack.compose("exec", "-T", "redis", "redis-cli", "-e", "llen", "rq:queue:sheaf", check=False)
    assert "NOAUTH" in anonymous.stdout + anonymous.stderr
    health = stack.compose(
        "exec",
        "-T",
        "redis",
        "redis-cli",
        "-e",
        "--no-auth-warning",
        "--user",
        "health",
        "--pass",
        "-",
        "info",
        check=False,
    )
    assert "NOPERM" in health.stdout + health.stderr


def test_the_producer_cannot_harm_what_others_have_in_redis(stack: Stack) -> None:
    """It may put work on the queue; it may not flush, reconfigure, list, touch others' keys, or pose as a worker."""
    denied = [
        ["HSET", "sheaf:owners", "batch", "me"],
        ["DEL", "sheaf:leases"],
        ["SET", "sheaf:worker:me", "1"],
        ["GET", "sheaf:claimed:me"],
        ["SUBSCRIBE", "other"],
        ["FLUSHALL"],
        ["FLUSHDB"],
        ["CONFIG", "SET", "maxmemory", "1"],
        ["KEYS", "*"],
        ["ACL", "LIST"],
        ["SHUTDOWN"],
        ["SCRIPT", "FLUSH"],
        ["SET", "other", "1"],
        ["EVAL", "return 1", "0"],
    ]
    printed = stack.producer_python(
        CONNECT_REDIS.format(role="producer") + TRY_COMMANDS.format(commands=[*denied, ["LLEN", "rq:queue:sheaf"]])
    )
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["DENIED"] * len(denied), printed
    assert lines[-1].startswith("OK")


def test_a_worker_cannot_flush_or_reconfigure_redis(stack: Stack) -> None:
    """User code runs in the workers: what it can do to Redis has limits."""
    denied = [
        ["FLUSHALL"],
        ["CONFIG", "GET", "*"],
        ["KEYS", "*"],
        ["SCRIPT", "FLUSH"],
        ["GET", "other"],
        ["GET", "rq:queue:other"],
        ["SUBSCRIBE", "other"],
        ["EVAL", "return 1", "0"],
        ["ACL", "LIST"],
    ]

    printed = stack.python("worker", CONNECT_REDIS.format(role="worker") + TRY_COMMANDS.format(commands=denied))

    assert [line.split()[0] for line in printed.splitlines()] == ["DENIED"] * len(denied), printed


def test_what_transactions_and_scripts_wrote_survives_a_kill_of_redis(stack: Stack) -> None:
    """Redis replays its file in the name of the default user, who is off: that must not cost half of what it held."""
    connect = CONNECT_REDIS.format(role="worker")
    stack.python("worker", connect + WRITE_PROBES)
    before = stack.containers("redis")[0]

    stack.kill_process(before["State"]["Pid"])

    wait_until(
        lambda: stack.containers("redis")[0]["State"]["Pid"] not in (0, before["State"]["Pid"]), 30, "Redis is back"
    )
    stack.compose("up", "-d", "--wait", "--no-recreate", "redis")
    names = [f"sheaf:probe:{number}" for number in range(1, 5)]
    kept = stack.python("worker", connect + f"print([r.get(name) for name in {names!r}]); r.delete(*{names!r})")
    assert kept.strip() == "[b'1', b'2', b'3', b'4']"


def test_each_role_reads_its_own_password_only(stack: Stack) -> None:
    """The volume with the passwords is shared; the files in it are not."""
    code = """
import os
print([name for name in ('admin', 'worker', 'producer') if os.access('/creds/' + name, os.R_OK)])
print(os.access('/creds', os.W_OK))
"""
    assert stack.python("worker", code) == "['worker']\nFalse\n"
    assert stack.producer_python(code) == "['producer']\nFalse\n"
