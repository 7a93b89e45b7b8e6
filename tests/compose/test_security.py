"""What a container of the stack may not do."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from tests.compose.stack import Stack, docker, log_of, wait_until

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
        off = 'command not allowed. If the enable-' in str(error)
        print('DENIED' if off or 'ACL failure in script' in str(error) else error, *words)
"""

#: Every way to bring code of one's own: a script that loops for ever stops Redis for all, and is counted for no limit.
CODE = [
    ["EVAL", "while true do end", "0"],
    ["EVAL_RO", "while true do end", "0"],
    ["EVALSHA", "0" * 40, "0"],
    ["EVALSHA_RO", "0" * 40, "0"],
    ["SCRIPT", "LOAD", "while true do end"],
    ["SCRIPT", "FLUSH"],
    ["SCRIPT", "KILL"],
    ["FUNCTION", "LOAD", "#!lua name=mine"],
    ["FUNCTION", "DELETE", "mine"],
    ["FUNCTION", "RESTORE", "x"],
    ["FUNCTION", "FLUSH"],
    ["FUNCTION", "KILL"],
    ["MODULE", "LOAD", "/tmp/mine.so"],
]

#: What would keep Redis busy, or make a large value out of a small command.
BLOCKING = [
    ["KEYS", "*"],
    ["SCAN", "0"],
    ["SORT", "rq:queue:sheaf"],
    ["SETRANGE", "sheaf:counter:a", "500000000", "x"],
    ["SETBIT", "sheaf:counter:a", "4000000000", "1"],
    ["APPEND", "sheaf:counter:a", "x"],
    ["COPY", "sheaf:counter:a", "sheaf:counter:b"],
    ["CLIENT", "PAUSE", "1000"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["DEBUG", "SLEEP", "1"],
    ["MONITOR"],
    ["SAVE"],
    ["REPLICAOF", "site", "8000"],
    ["MIGRATE", "site", "8000", "rq:queues", "0", "1"],
]

#: Sends half a command of 100 MB, and asks whether Redis is there for others.
SEND_MUCH = """
big = redis.Redis('redis', username='producer', password=open('/creds/producer').read().strip())
try:
    big.set('sheaf:dict:big', b'x' * 100_000_000)
    print('taken')
except redis.exceptions.ConnectionError:
    print('cut off')
print(r.ping(), r.exists('sheaf:dict:big'))
"""

WRITE_PROBES = """
with r.pipeline() as pipe:
    pipe.set('sheaf:probe:1', 1)
    pipe.set('sheaf:probe:2', 2)
    pipe.execute()
from sheaf.broker.redis_library import function_name
put = function_name('shared_value')
r.fcall(put, 2, 'sheaf:client:probe', 'sheaf:dict:probe', 'request', 'put', 'a', 3, 'b', 4)
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


def assert_limited(host: dict[str, Any]) -> None:
    """Memory, swap and processes end somewhere, whatever a container does."""
    assert host["Memory"] > 0
    assert host["MemorySwap"] == host["Memory"]
    assert host["PidsLimit"] > 0


#: Whether it is Redis that answers there: an address that leads nowhere may lead to a proxy of the host's network.
ASK_REDIS = """
import socket
try:
    with socket.create_connection(({address!r}, 6379), timeout=3) as there:
        there.sendall(b'PING\\r\\n')
        print('Redis' if there.recv(100).startswith((b'-NOAUTH', b'+PONG')) else 'another server')
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
        assert_limited(host)
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


@pytest.mark.parametrize("service", ["creds", "producer", "python", "rq"])
def test_what_is_run_by_hand_has_limits_too(stack: Stack, service: str) -> None:
    """A script that grows or forks without end takes itself along, not the host."""
    container = stack.compose("run", "-d", "--no-deps", "--entrypoint", "sleep", service, "60").stdout.strip()
    try:
        assert_limited(json.loads(docker("inspect", container))[0]["HostConfig"])
    finally:
        docker("rm", "--force", container)


def test_no_worker_can_change_the_tasks(stack: Stack) -> None:
    """What one worker's item could write there, all others would run."""
    tried = stack.compose("exec", "-T", "worker", "touch", "/tasks/probe", check=False)
    assert "Read-only file system" in tried.stderr


def test_redis_cannot_be_reached_from_outside_its_network(stack: Stack) -> None:
    """The site shares a network with the workers, not with Redis: neither by name nor by address."""
    redis = stack.containers("redis")[0]
    (network,) = redis["NetworkSettings"]["Networks"].values()

    for address in ("redis", network["IPAddress"]):
        assert stack.python("site", ASK_REDIS.format(address=address)).strip() in ("closed", "another server")
        assert stack.python("worker", ASK_REDIS.format(address=address)).strip() == "Redis"


def test_redis_and_the_producer_have_no_way_out(stack: Stack) -> None:
    """Their network is internal: what is on the other network, like all the world, is out of reach."""
    site = stack.containers("site")[0]
    (network,) = site["NetworkSettings"]["Networks"].values()
    address = network["IPAddress"]

    assert stack.producer_python(CONNECT.format(address=address, port=8000)).strip() == "closed"
    probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/8000'"
    assert stack.compose("exec", "-T", "redis", "sh", "-c", probe, check=False).returncode != 0
    assert stack.compose("exec", "-T", "worker", "sh", "-c", probe).returncode == 0


def test_the_host_cannot_be_reached_by_redis_and_the_producer(stack: Stack) -> None:
    """What listens on all of the host's addresses can be reached by no network's gateway."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        networks = json.loads(docker("network", "inspect", f"{stack.name}_back", f"{stack.name}_egress"))
        back, egress = (network["IPAM"]["Config"][0].get("Gateway", "") for network in networks)
        # The worker reaches the host on its way to the web (docs/decisions/0035-networks.md): the probe can tell.
        assert stack.python("worker", CONNECT.format(address=egress, port=port)).strip() == "open"
        for address in filter(None, (back, egress)):
            assert stack.producer_python(CONNECT.format(address=address, port=port)).strip() == "closed"
            probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"
            assert stack.compose("exec", "-T", "redis", "sh", "-c", probe, check=False).returncode != 0
        assert back == "" or stack.python("worker", CONNECT.format(address=back, port=port)).strip() == "closed"


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
        *CODE,
        *BLOCKING,
        ["HSET", "sheaf:lock:output:pages.warc.gz", "holder", "me"],
        ["RPUSH", "sheaf:lock:output:pages.warc.gz:waiters", "me"],
        ["SET", "sheaf:lock:output:pages.warc.gz:token", "1"],
        ["HSET", "sheaf:owners", "batch", "me"],
        ["DEL", "sheaf:leases"],
        ["SET", "sheaf:worker:me", "1"],
        ["GET", "sheaf:claimed:me"],
        ["SUBSCRIBE", "other"],
        ["FLUSHALL"],
        ["FLUSHDB"],
        ["CONFIG", "SET", "maxmemory", "1"],
        ["ACL", "LIST"],
        ["SHUTDOWN"],
        ["SET", "other", "1"],
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
        *CODE,
        *BLOCKING,
        ["FLUSHALL"],
        ["CONFIG", "GET", "*"],
        ["GET", "other"],
        ["GET", "rq:queue:other"],
        ["SUBSCRIBE", "other"],
        ["ACL", "LIST"],
    ]

    printed = stack.python("worker", CONNECT_REDIS.format(role="worker") + TRY_COMMANDS.format(commands=denied))

    assert [line.split()[0] for line in printed.splitlines()] == ["DENIED"] * len(denied), printed


def test_a_client_that_sends_too_much_is_cut_off(stack: Stack) -> None:
    """What is on its way does not count for `maxmemory`: without a limit of its own it could end Redis."""
    printed = stack.producer_python(CONNECT_REDIS.format(role="producer") + SEND_MUCH)
    assert printed == "cut off\nTrue 0\n"


def test_redis_that_lost_its_functions_is_given_them_when_it_starts(stack: Stack) -> None:
    """A worker that needs them waits, and says what is missing and how to bring it; a start of Redis does."""
    began = time.time()
    stack.as_admin("FUNCTION", "FLUSH")
    program = stack.start_producer("map", "math:sqrt", "range(10)", "-o", "lost.jsonl")
    try:
        logs = [container["Id"] for container in stack.containers("worker")]
        missing = "does not have the functions of this version of Sheaf"
        wait_until(lambda: all(missing in log_of(each, began) for each in logs), 60, "all workers say so")
        assert "docker compose up -d --build redis" in log_of(logs[0], began)
        # What has not met Redis yet would rightly give up in the midst of its restart.
        wait_until(
            lambda: missing in "".join(map(log_of, stack.one_off_containers("producer"))), 60, "the producer too"
        )

        stack.compose("restart", "redis")

        printed = program.communicate(timeout=60)[0]
        assert "Done: 10 items" in printed
    finally:
        program.kill()
        program.communicate()
        # Until the functions were there again, the workers were denied their scripts: no other test's business.
        stack.as_admin("ACL", "LOG", "RESET")


def test_a_full_redis_is_given_its_functions_too(stack: Stack) -> None:
    """Without them nothing could be taken out of it again: the loader lifts the limit for a moment."""
    volume = f"{stack.name}_creds:/creds:ro"
    options = ["--read-only", "--tmpfs", "/tmp", "--volume", volume]
    container = docker("run", "-d", *options, f"sheaf-redis:{stack.name}", "--maxmemory", "1000").strip()
    try:
        ask = ["exec", container, "redis-cli", "--no-auth-warning", "--user", "admin", "--pass", stack.admin_password]
        wait_until(lambda: "sheaf_" in docker(*ask, "FUNCTION", "LIST"), 60, "the functions are loaded")
        wait_until(lambda: docker(*ask, "CONFIG", "GET", "maxmemory") == "maxmemory\n1000\n", 60, "the limit is back")
    finally:
        docker("rm", "--force", "--volumes", container)


def test_the_viewer_sees_the_queue_and_can_change_nothing(stack: Stack) -> None:
    """`rq info` in the stack, as a user who reads RQ's keys only."""
    shown = stack.compose("run", "--rm", "-T", "rq", "info")
    tried = stack.compose("run", "--rm", "-T", "rq", "empty", "sheaf", check=False)

    assert "3 workers" in shown.stdout
    assert tried.returncode != 0
    assert "NoPermissionError" in tried.stderr


def test_what_transactions_and_functions_wrote_survives_a_kill_of_redis(stack: Stack) -> None:
    """Redis replays its file in the name of the default user, who is off: that must not cost half of what it held."""
    connect = CONNECT_REDIS.format(role="worker")
    stack.python("worker", connect + WRITE_PROBES)
    before = stack.containers("redis")[0]

    stack.kill_process(before["State"]["Pid"])

    wait_until(
        lambda: stack.containers("redis")[0]["State"]["Pid"] not in (0, before["State"]["Pid"]), 30, "Redis is back"
    )
    stack.compose("up", "-d", "--wait", "--no-recreate", "redis")
    look = """
names = ['sheaf:probe:1', 'sheaf:probe:2', 'sheaf:dict:probe']
print(r.get(names[0]), r.get(names[1]), r.hgetall(names[2]))
r.delete(*names)
"""
    assert stack.python("worker", connect + look).strip() == "b'1' b'2' {b'a': b'3', b'b': b'4'}"


def test_each_role_reads_its_own_password_only(stack: Stack) -> None:
    """The volume with the passwords is shared; the files in it are not, but for the key that calls are signed with."""
    code = """
import os
names = ('admin', 'worker', 'producer', 'viewer', 'cluster-key')
print([name for name in names if os.access('/creds/' + name, os.R_OK)])
print(os.access('/creds', os.W_OK))
"""
    assert stack.python("worker", code) == "['worker', 'cluster-key']\nFalse\n"
    assert stack.producer_python(code) == "['producer', 'cluster-key']\nFalse\n"
    for service in ("redis", "site"):
        looked = stack.compose("exec", "-T", service, "cat", "/creds/cluster-key", check=False)
        assert looked.returncode != 0 and not looked.stdout


def test_workers_and_producers_sign_with_the_same_key(stack: Stack) -> None:
    """Which is nowhere in the environment, that a task could read."""
    code = """
import os
from sheaf.core.settings import Settings
from sheaf.run.signatures import ClusterKey, SignedCall
print(ClusterKey.of(Settings.from_env()).sign(SignedCall('r', 1, 'm', 'f', b'', b'')))
secret = open('/creds/cluster-key').read().strip()
print(any(secret in value for value in os.environ.values()))
"""
    signed = stack.python("worker", code)
    assert len(signed.splitlines()[0]) == 64 and signed.endswith("\nFalse\n")
    assert stack.producer_python(code) == signed
