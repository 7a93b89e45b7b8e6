"""With all rights in Redis and nothing else, no process can be run: starts forged, changed, moved and replayed here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import redis

from sheaf.broker import keys
from sheaf.broker.program_processes import ProgramSteps, new_id
from sheaf.core.errors import ClusterError
from sheaf.multiprocessing.folder import PROGRAMS, STARTS
from sheaf.values import Codec
from tests.console import wait_until
from tests.integration import hosted_targets as targets
from tests.integration.bench import Bench
from tests.integration.hosting_bench import SOON_S, bench, program, serve
from tests.integration.programs import HostingProgram

__all__ = ["bench", "program"]


def put_forward(attacker: redis.Redis, program: str, process: str) -> None:
    """What a start consists of in Redis, by plain commands."""
    entry = {"name": "Process-1", "parent": "", "state": "waiting"}
    attacker.hset(keys.of_program(program, keys.MP_PROCESSES), process, json.dumps(entry))
    attacker.rpush(keys.MP_STARTS, f"{program} {process} 1")
    attacker.publish(keys.MP_CALL, "start")


def refused(attacker: redis.Redis, program: str, process: str) -> bool:
    """Whether a worker has looked at it, and run nothing."""
    found: Any = attacker.hget(keys.of_program(program, keys.MP_PROCESSES), process)
    entry = json.loads(found or b"{}")
    return entry.get("state") == "ended" and entry.get("exitcode") == 1 and "pid" not in entry


def traces(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_forged_start_runs_nothing(program: HostingProgram, bench: Bench) -> None:
    """Of a program that lives, and of one that exists in Redis alone; the program prints what was tried."""
    attacker = bench.server.client()
    forged, invented = new_id(), new_id()
    program.start(targets.say, "before").wait(SOON_S)
    put_forward(attacker, program.name, forged)
    wait_until(lambda: refused(attacker, program.name, forged), SOON_S, "it is refused")
    wait_until(lambda: "there is nothing to run for process" in program.stderr, SOON_S, "the program hears of it")

    attacker.zadd(keys.MP_PROGRAMS, {invented: 1 << 52})
    put_forward(attacker, invented, forged)
    wait_until(lambda: refused(attacker, invented, forged), SOON_S, "it is refused too")
    assert program.start(targets.say, "after").wait(SOON_S) == 0
    assert program.stdout == "before\nafter\n"
    attacker.close()


def test_an_ended_process_is_not_run_again(bench: Bench, tmp_path: Path) -> None:
    """By the worker that ran it, by another, nor by one that began later and remembers nothing."""
    program = HostingProgram(serve(bench, 2))
    attacker = bench.server.client()
    trace = tmp_path / "trace"
    process = program.start(targets.count, str(trace))
    assert process.wait(SOON_S) == 0
    assert traces(trace) == 1
    for _ in range(6):
        put_forward(attacker, program.name, process.id)
        wait_until(lambda: refused(attacker, program.name, process.id), SOON_S, "it is refused")
        attacker.hdel(keys.of_program(program.name, keys.MP_PROCESSES), process.id)
    bench.worker(log=bench.person.folder / "log")
    bench.wait_for_workers()
    for worker in bench.workers[:2]:
        worker.kill()
        worker.wait()
    put_forward(attacker, program.name, process.id)
    wait_until(lambda: refused(attacker, program.name, process.id), SOON_S, "by the new worker too")
    assert traces(trace) == 1
    attacker.close()
    program.close()


def test_a_running_process_is_not_run_twice(bench: Bench, tmp_path: Path) -> None:
    """Whatever Redis says of it: that it waits, or that another worker hosts it."""
    program = HostingProgram(serve(bench, 2))
    attacker = bench.server.client()
    trace, pid = tmp_path / "trace", tmp_path / "pid"
    process = program.start(targets.count, str(trace))
    process.wait(SOON_S)
    process = program.start(targets.sleep, str(pid))
    wait_until(lambda: pid.exists() and pid.read_text(), SOON_S, "it runs")
    first = pid.read_text()
    workers: Any = attacker.hkeys(keys.MP_HOSTS)
    for worker in workers:
        attacker.sadd(keys.MP_HOSTED_PREFIX + worker.decode(), f"{program.name} {process.id}")
    for _ in range(5):
        put_forward(attacker, program.name, process.id)
        wait_until(lambda: attacker.llen(keys.MP_STARTS) == 0, SOON_S, "it was taken")
    other = program.start(targets.count, str(trace))
    assert other.wait(SOON_S) == 0
    assert pid.read_text() == first
    assert traces(trace) == 2
    attacker.close()
    program.close()


def test_a_start_cannot_be_moved(bench: Bench, tmp_path: Path) -> None:
    """To another process of its program, or to another program: not in Redis, nor with its file on the volume."""
    program = HostingProgram(serve(bench, SHEAF_HOSTED="1"))
    other = HostingProgram(program.hosting._settings)
    attacker = bench.server.client()
    trace, pid = tmp_path / "trace", tmp_path / "pid"
    blocking, second = program.start(targets.sleep, str(pid)), other.start(targets.say, "mine")
    wait_until(pid.exists, SOON_S, "the only place is taken")
    waiting = program.start(targets.count, str(trace))
    file = bench.person.data / PROGRAMS / program.name / STARTS / waiting.id
    moved = new_id()
    shutil.copy(file, file.with_name(moved))
    theirs = bench.person.data / PROGRAMS / other.name / STARTS / waiting.id
    shutil.copy(file, theirs)
    waiting.kill()
    assert waiting.wait(SOON_S) == -9
    put_forward(attacker, program.name, moved)
    put_forward(attacker, other.name, waiting.id)
    blocking.kill()

    wait_until(lambda: refused(attacker, program.name, moved), SOON_S, "the one is refused")
    wait_until(lambda: refused(attacker, other.name, waiting.id), SOON_S, "and the other")
    wait_until(lambda: "was not signed by its program" in program.stderr, SOON_S, "it is said")
    wait_until(lambda: "was not signed by its program" in other.stderr, SOON_S, "to both")
    assert second.wait(SOON_S) == 0
    assert traces(trace) == 0
    attacker.close()
    other.close()
    program.close()


def test_nothing_of_a_start_is_in_redis(bench: Bench, tmp_path: Path) -> None:
    """Neither what is called nor its arguments, nor any key: there is nothing to change."""
    settings = serve(bench, SHEAF_HOSTED="1")
    program = HostingProgram(settings)
    attacker = bench.server.client()
    pid = tmp_path / "pid"
    blocking = program.start(targets.sleep, str(pid))
    wait_until(pid.exists, SOON_S, "the only place is taken")
    waiting = program.start(targets.say, "the-argument-of-it")
    key = (bench.person.data / ".sheaf/cluster-key").read_bytes()[:64]
    secrets = [b"the-argument-of-it", b"hosted_targets", key]
    found: Any = attacker.keys("*")
    assert keys.MP_STARTS.encode() in found
    for name in found:
        content: Any = attacker.dump(name)
        assert not any(secret in content for secret in secrets), name
    blocking.kill()
    assert waiting.wait(SOON_S) == 0
    attacker.close()
    program.close()


def test_a_changed_start_runs_nothing(bench: Bench, tmp_path: Path) -> None:
    """On the volume, which is out of reach of Redis: one byte of it is enough."""
    program = HostingProgram(serve(bench, SHEAF_HOSTED="1"))
    trace, pid = tmp_path / "trace", tmp_path / "pid"
    blocking = program.start(targets.sleep, str(pid))
    wait_until(pid.exists, SOON_S, "the only place is taken")
    waiting = program.start(targets.count, str(trace))
    file = bench.person.data / PROGRAMS / program.name / STARTS / waiting.id
    file.write_bytes(file.read_bytes().replace(b'"daemon":false', b'"daemon":true '))
    blocking.kill()
    assert waiting.wait(SOON_S) == 1
    assert "was not signed by its program" in program.stderr
    assert traces(trace) == 0
    program.close()


def test_nonsense_in_redis_ends_no_worker(program: HostingProgram, bench: Bench) -> None:
    """Keys of other types, entries that are none: what the program asks for afterwards is done."""
    attacker = bench.server.client()
    processes = keys.of_program(program.name, keys.MP_PROCESSES)
    process = new_id()
    for entry in (b"", b"[1]", b"\xff", b'{"state": 5}', b'{"state": "running", "worker": 7}', b"null"):
        attacker.hset(processes, process, entry)
        attacker.rpush(keys.MP_STARTS, f"{program.name} {process} 1", f"{program.name} {process}", "\x00", "a b -1")
        attacker.publish(keys.MP_CALL, "start")
        wait_until(lambda: attacker.llen(keys.MP_STARTS) == 0, SOON_S, "the list is worked off")
    assert program.start(targets.say, "still there").wait(SOON_S) == 0
    assert bench.workers[0].poll() is None
    attacker.close()


class Elsewhere:
    """Says that everything is one of the program's modules' own."""

    def name_of(self, thing: Any) -> tuple[str, str] | None:
        return ("no_such_module", thing.__qualname__)

    def find(self, module: str, qualname: str) -> Any:
        raise LookupError


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (Codec(Elsewhere()).encode((targets.say, (), {})), "no_such_module"),
        (Codec(Elsewhere()).encode((targets.say, (targets.Own,), {})), "no_such_module"),
        (b"nothing of the kind", "ValueUnreadable"),
        (b"", "ValueUnreadable"),
        (Codec().encode([1]), "ValueError"),
        (Codec().encode((5, (), {})), "not callable"),
    ],
)
def test_a_process_that_cannot_begin_says_why(program: HostingProgram, payload: bytes, said: str) -> None:
    """On the program's stderr, with exit code 1: a module that the worker lacks, arguments that cannot be read."""
    process = program.hosting.start("Process-7", [payload])
    assert process.wait(SOON_S) == 1
    assert program.stderr.startswith("Process Process-7:\n")
    assert said in program.stderr


def test_a_program_that_redis_has_forgotten_notices(program: HostingProgram, bench: Bench) -> None:
    """Its start is not left on the volume."""
    program.start(targets.say, "once").wait(SOON_S)
    with bench.server.client() as attacker:
        attacker.flushall()
    with pytest.raises(ClusterError, match="does not know this program"):
        program.start(targets.say, "late")
    assert list((bench.person.data / PROGRAMS / program.name / STARTS).iterdir()) == []
    assert not ProgramSteps(program.connection, program.name).start(new_id(), {"name": "x"})
