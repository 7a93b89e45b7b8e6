"""The steps in Redis by which programs' processes come to workers: each at most once, to the worker that has fewest."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from sheaf.broker import keys
from sheaf.broker.program_processes import HostSteps, ProcessId, ProgramSteps, new_id
from tests.console import wait_until
from tests.support import ForeignServer, RedisServer, ReplyLosingProxy

LEASE_S = 60.0


def begin_program(connection: redis.Redis, lease_s: float = LEASE_S) -> str:
    """A program with a lease, as `sheaf.multiprocessing` gives itself one."""
    program = new_id()
    give_lease(connection, program, lease_s)
    return program


def give_lease(connection: redis.Redis, program: str, lease_s: float) -> None:
    now: Any = connection.time()
    connection.zadd(keys.MP_PROGRAMS, {program: round((now[0] + lease_s) * 1000)})


def start(connection: redis.Redis, program: str) -> str:
    process = new_id()
    assert ProgramSteps(connection, program).start(process, {"name": "Process-1"})
    return process


def entry(connection: redis.Redis, program: str, process: str) -> dict[str, Any]:
    return dict(ProgramSteps(connection, program).entries([process])[0])


def test_a_start_is_taken_once(connection: redis.Redis) -> None:
    """Two workers that look get one process each, and no process twice."""
    program = begin_program(connection)
    processes = {start(connection, program) for _ in range(4)}
    hosts = [HostSteps(connection, name) for name in ("a", "b")]
    time.sleep(0.35)  # from then on any worker may take them

    found = [claim for host in hosts for claim in host.look([], 2, LEASE_S).claims]

    assert sorted(found) == sorted(ProcessId(program, process) for process in processes)
    assert {entry(connection, program, process)["worker"] for process in processes} == {"a", "b"}
    assert {entry(connection, program, process)["state"] for process in processes} == {"running"}


def test_the_worker_that_hosts_fewest_comes_first(connection: redis.Redis) -> None:
    """Another leaves a new start to it, but not for long: it may be busy."""
    program = begin_program(connection)
    busy, idle = HostSteps(connection, "busy"), HostSteps(connection, "idle")
    start(connection, program)
    mine = busy.look([], 10, LEASE_S).claims
    assert len(mine) == 1
    assert idle.look([], 10, LEASE_S).claims == []
    start(connection, program)

    look = busy.look(mine, 10, LEASE_S)
    assert look.claims == []
    assert look.again_s is not None
    assert 0 < look.again_s <= 0.3
    assert len(idle.look([], 10, LEASE_S).claims) == 1

    start(connection, program)
    start(connection, program)
    time.sleep(0.35)
    assert len(busy.look(mine, 10, LEASE_S).claims) == 2


def test_a_full_or_dead_worker_is_not_waited_for(connection: redis.Redis) -> None:
    """Only those count that could take it."""
    program = begin_program(connection)
    HostSteps(connection, "full").look([], 0, LEASE_S)
    HostSteps(connection, "dead").look([], 5, 0.001)
    host = HostSteps(connection, "a")
    started = [start(connection, program) for _ in range(3)]
    time.sleep(0.01)
    assert [claim.process for claim in host.look([], 10, LEASE_S).claims] == started


def test_no_more_are_taken_than_there_is_room_for(connection: redis.Redis) -> None:
    """The others wait, in order."""
    program = begin_program(connection)
    started = [start(connection, program) for _ in range(3)]
    host = HostSteps(connection, "a")
    first = host.look([], 2, LEASE_S).claims
    assert [claim.process for claim in first] == started[:2]
    assert host.look(first, 0, LEASE_S).claims == []
    host.ended(first[0], 0)
    assert [claim.process for claim in host.look(first[1:], 1, LEASE_S).claims] == started[2:]


@pytest.mark.parametrize("step", ["start", "look", "running", "ended", "signal", "print", "printed"])
def test_a_lost_reply_changes_nothing(
    redis_server: RedisServer | ForeignServer, losing_proxy: ReplyLosingProxy, step: str
) -> None:
    """Each step is done once, and its answer is had in the end."""
    with redis_server.client() as connection, losing_proxy.client() as shaky:
        program = begin_program(connection)
        steps, host = ProgramSteps(shaky, program), HostSteps(shaky, "a")
        process = ProcessId(program, new_id())
        shaky.ping()

        def lose(at: str) -> None:
            if at == step:
                losing_proxy.lose_step()

        lose("start")
        assert steps.start(process.process, {"name": "Process-1"})
        assert connection.llen(keys.MP_STARTS) == 1
        lose("look")
        assert host.look([], 5, LEASE_S).claims == [process]
        assert connection.smembers(keys.MP_HOSTED_PREFIX + "a") == {" ".join(process).encode()}
        lose("running")
        assert host.running(process, 77)
        lose("signal")
        assert steps.signal(process.process, 15)
        assert host.look([process], 5, LEASE_S).signals == {process: (15, 1)}
        lose("print")
        assert host.print(program, 1, [b"a", b"b"]) is True
        lose("printed")
        assert steps.printed(0) == (2, [b"a", b"b"])
        assert steps.printed(2) == (2, [])
        lose("ended")
        host.ended(process, -15)
        assert entry(connection, program, process.process)["exitcode"] == -15
        assert not connection.exists(keys.MP_HOSTED_PREFIX + "a")
        assert losing_proxy.lost == 1


def test_a_claim_whose_answer_never_came_is_told_again(connection: redis.Redis) -> None:
    """A worker that does not know a process that Redis counts as its own has not begun it."""
    program = begin_program(connection)
    process = ProcessId(program, start(connection, program))
    host = HostSteps(connection, "a")
    assert host.look([], 5, LEASE_S).claims == [process]
    assert host.look([], 5, LEASE_S).claims == [process]
    assert host.look([process], 5, LEASE_S).claims == []


def test_a_dead_workers_processes_are_named_until_they_are_reported(connection: redis.Redis) -> None:
    """The worker that reports them may itself die meanwhile."""
    program = begin_program(connection)
    process = ProcessId(program, start(connection, program))
    HostSteps(connection, "dead").look([], 5, 0.001)
    other = HostSteps(connection, "b")
    time.sleep(0.01)
    assert other.lost() == other.lost() == [("dead", process)]

    assert other.ended(process, -9, worker="dead")

    assert entry(connection, program, process.process)["exitcode"] == -9
    assert other.lost() == []
    assert not connection.hexists(keys.MP_HOSTS, "dead")


def test_a_worker_that_was_counted_as_dead_is_told(connection: redis.Redis) -> None:
    """Paused and continued, it has processes that have ended for everybody else."""
    program = begin_program(connection)
    process = ProcessId(program, start(connection, program))
    host = HostSteps(connection, "a")
    host.look([], 5, 0.001)
    HostSteps(connection, "b").ended(process, -9, worker="a")
    assert host.look([process], 5, LEASE_S).lost == [process]
    assert not host.ended(process, 0)
    assert entry(connection, program, process.process)["exitcode"] == -9


def test_nothing_is_started_for_a_program_that_is_gone(connection: redis.Redis) -> None:
    """Neither what it asks for without a lease, nor what waited when its lease was removed."""
    assert not ProgramSteps(connection, new_id()).start(new_id(), {"name": "late"})
    program = begin_program(connection)
    start(connection, program)
    connection.zrem(keys.MP_PROGRAMS, program)
    assert HostSteps(connection, "a").look([], 5, LEASE_S).claims == []
    assert connection.llen(keys.MP_STARTS) == 0


def test_a_lease_that_is_over_stops_no_other_program(connection: redis.Redis) -> None:
    """Redis may have been away for longer than the lease: what waits is kept, behind what others have waiting."""
    late, other = begin_program(connection, -1.0), begin_program(connection)
    give_lease(connection, late, LEASE_S)
    waiting = start(connection, late)
    give_lease(connection, late, -1.0)
    process = start(connection, other)
    host = HostSteps(connection, "a")
    first = host.look([], 5, LEASE_S)
    assert first.claims == [ProcessId(other, process)]
    give_lease(connection, late, LEASE_S)
    assert host.look(first.claims, 5, LEASE_S).claims == [ProcessId(late, waiting)]


def test_a_host_learns_whose_lease_is_over(connection: redis.Redis) -> None:
    """It ends their processes; of one that only could not renew its lease, after a moment."""
    program, other = begin_program(connection), begin_program(connection)
    mine = [ProcessId(program, start(connection, program)), ProcessId(other, start(connection, other))]
    host = HostSteps(connection, "a")
    first = host.look([], 5, LEASE_S)
    assert (first.over, first.gone) == (frozenset(), frozenset())
    give_lease(connection, program, -1.0)
    assert host.look(mine, 5, LEASE_S).over == {program}
    connection.zrem(keys.MP_PROGRAMS, other)
    assert host.look(mine, 5, LEASE_S).gone == {other}


def test_a_signal_ends_a_process_that_waits(connection: redis.Redis) -> None:
    """It is never run then."""
    program = begin_program(connection)
    process = start(connection, program)
    steps = ProgramSteps(connection, program)
    assert steps.signal(process, 15)
    assert entry(connection, program, process)["exitcode"] == -15
    assert not steps.signal(process, 15)
    assert HostSteps(connection, "a").look([], 5, LEASE_S).claims == []


def test_the_program_reads_what_was_printed_in_order(connection: redis.Redis) -> None:
    """Each entry once; a full list takes no more until some was read."""
    program = begin_program(connection)
    host, steps = HostSteps(connection, "a"), ProgramSteps(connection, program)
    large = b"x" * (2 << 20)
    assert host.print(program, 1, [large, large]) is True
    assert host.print(program, 2, [b"more"]) is False
    had, entries = steps.printed(0)
    assert (had, entries) == (2, [large, large])
    assert steps.printed(had) == (2, [])
    assert host.print(program, 2, [b"more"]) is True
    assert steps.printed(had) == (3, [b"more"])
    assert host.print(new_id(), 1, [b"to no program"]) is None


def test_all_of_a_programs_keys_are_in_its_set(connection: redis.Redis) -> None:
    """What removes a dead program's keys finds them there."""
    program = begin_program(connection)
    process = ProcessId(program, start(connection, program))
    host = HostSteps(connection, "a")
    host.look([], 5, LEASE_S)
    host.print(program, 1, [b"a"])
    host.ended(process, 0)
    named: Any = connection.smembers(keys.of_program(program, keys.MP_KEYS))
    there: Any = connection.keys(f"sheaf:mp:{program}:*")
    assert set(there) <= set(named)
    assert len(there) == 4
    assert connection.exists(keys.MP_HOSTED_PREFIX + "a", keys.MP_SIGNALS_PREFIX + "a") == 0


@pytest.mark.parametrize(
    ("key", "command"),
    [
        (keys.MP_STARTS, ("RPUSH", "nonsense", "../x y 1", "\x00 \xff 5")),
        (keys.MP_HOSTS, ("HSET", "x", "nonsense", "y", "1 2")),
        (keys.MP_HOSTED_PREFIX + "a", ("SADD", "nonsense", "../../etc passwd")),
        (keys.MP_SIGNALS_PREFIX + "a", ("HSET", "nonsense", "15:1", "ab cd", "x")),
        (keys.MP_HOSTED_PREFIX + "x", ("SADD", "nonsense")),
    ],
)
def test_nonsense_in_redis_stops_no_worker(connection: redis.Redis, key: str, command: tuple[str, ...]) -> None:
    """It is passed over, and what is asked for beside it is done."""
    connection.execute_command(command[0], key, *command[1:])
    program = begin_program(connection)
    process = ProcessId(program, start(connection, program))
    host = HostSteps(connection, "a")

    look = host.look([], 5, LEASE_S)

    assert look.claims == [process]
    assert look.signals == {}
    assert host.lost() == []
    wait_until(lambda: connection.llen(keys.MP_STARTS) == 0, 10, "nothing is left of it")
