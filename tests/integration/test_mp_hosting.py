"""Processes that workers run for programs: side by side, with the standard exit codes, and gone with their program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sheaf.broker import keys
from sheaf.multiprocessing.folder import PROGRAMS
from sheaf.multiprocessing.objects.locks import Lock
from sheaf.multiprocessing.objects.queues import Queue
from tests.console import processes_of, wait_until
from tests.integration import hosted_targets as targets
from tests.integration.bench import Bench
from tests.integration.hosting_bench import SOON_S, bench, program, serve
from tests.integration.programs import HostingProgram

__all__ = ["bench", "program"]


def test_a_process_runs_and_its_prints_come(program: HostingProgram) -> None:
    """Function, arguments and keywords, in a process of its own; printed text is there before the exit code is."""
    process = program.start(targets.say, "page", 1, end_of="it")

    assert process.wait(SOON_S) == 0
    assert program.stdout == "page 1 end_of=it\n"
    assert program.stderr == ""
    assert process.pid not in (None, os.getpid())
    assert str(process.worker).startswith(os.uname().nodename)
    assert process.poll() == process.exitcode == 0


def test_a_bound_method_of_the_programs_own_runs(program: HostingProgram) -> None:
    """Its object travels with it."""
    assert program.start(targets.Own("hello").say, "world").wait(SOON_S) == 0
    assert program.stdout == "hello world\n"


def test_six_that_wait_for_each_other_do_not_hold_each_other_up(program: HostingProgram, tmp_path: Path) -> None:
    """One worker whose pool has one process: each that is started has one of its own all the same."""
    paths = [str(tmp_path / f"there-{number}") for number in range(6)]
    processes = [program.start(targets.touch_and_wait_for, path, paths) for path in paths]
    assert [process.wait(SOON_S) for process in processes] == [0] * 6
    assert len({process.pid for process in processes}) == 6


@pytest.mark.parametrize(
    ("target", "arguments", "exit_code", "complaint"),
    [
        (targets.say, (), 0, ""),
        (targets.fail, (), 1, "ValueError: as it should\n"),
        (targets.leave, (None,), 0, ""),
        (targets.leave, (0,), 0, ""),
        (targets.leave, (7,), 7, ""),
        (targets.leave, (True,), 1, ""),
        (targets.leave, ("not like this",), 1, "not like this\n"),
        (targets.leave, ([1],), 1, "[1]\n"),
        (targets.die, (signal.SIGTERM.value,), -15, ""),
        (targets.die, (signal.SIGKILL.value,), -9, ""),
        (targets.die, (signal.SIGSEGV.value,), -11, ""),
    ],
)
def test_exit_codes_are_the_standard_modules(
    program: HostingProgram, target: Any, arguments: tuple[Any, ...], exit_code: int, complaint: str
) -> None:
    """What the process says of its failure is on the program's stderr, a traceback under the process's name."""
    assert program.start(target, *arguments, name="Process-3").wait(SOON_S) == exit_code
    assert program.stderr.endswith(complaint)
    if "Error" in complaint:
        assert program.stderr.startswith("Process Process-3:\nTraceback (most recent call last):\n")
        assert "hosted_targets.py" in program.stderr
    else:
        assert program.stderr == complaint


def test_threads_are_waited_for(program: HostingProgram) -> None:
    """As the standard module does at a process's end."""
    assert program.start(targets.leave_a_thread).wait(SOON_S) == 0
    assert program.stdout == "from the thread\n"


def test_terminate_and_kill(program: HostingProgram, tmp_path: Path) -> None:
    """SIGTERM can be ignored, SIGKILL takes along what the process has started."""
    first, second = program.start(targets.sleep), program.start(targets.ignore_term, str(tmp_path / "second"))
    third = program.start(targets.fork_and_sleep, str(tmp_path / "third"))
    for path in (tmp_path / "second", tmp_path / "third"):
        wait_until(lambda path=path: path.exists() and path.read_text(), SOON_S, "it runs")  # type: ignore[misc]
    assert first.wait_begun(SOON_S)
    first.terminate()
    second.terminate()
    assert first.wait(SOON_S) == -15
    second.kill()
    assert second.wait(SOON_S) == -9
    _, started = (tmp_path / "third").read_text().split()
    third.kill()
    assert third.wait(SOON_S) == -9
    wait_until(lambda: not Path(f"/proc/{started}").exists(), SOON_S, "what it started is gone")
    third.kill()


def test_one_that_waits_is_terminated_without_being_run(bench: Bench, tmp_path: Path) -> None:
    """Nor does it run later."""
    program = HostingProgram(serve(bench, SHEAF_HOSTED="1"))
    first = program.start(targets.sleep, str(tmp_path / "first"))
    wait_until((tmp_path / "first").exists, SOON_S, "the first runs")
    second = program.start(targets.touch, str(tmp_path / "second"))
    second.terminate()
    assert second.wait(SOON_S) == -15
    third = program.start(targets.touch, str(tmp_path / "third"))
    first.kill()
    assert third.wait(SOON_S) == 0
    assert not (tmp_path / "second").exists()
    assert names(bench.person.data / PROGRAMS / program.name / "starts") == []
    program.close()


def test_a_process_starts_one_of_its_own(program: HostingProgram, tmp_path: Path, monkeypatch: Any) -> None:
    """Of the same program, with the key of that alone; what it prints appears in the program's terminal too."""
    monkeypatch.chdir(tmp_path)
    assert program.start(targets.start_another, "from within").wait(SOON_S) == 0
    assert sorted(program.stdout.splitlines()) == ["from within", "inner 0"]
    assert names(program.hosting._settings.data_dir / PROGRAMS) == [program.name]


def test_what_is_shared_goes_with_a_process(program: HostingProgram) -> None:
    """Queues and locks as arguments; three consumers and a producer that is the program itself."""
    queue, results = Queue(program.member), Queue(program.member)
    lock = Lock(program.member)
    consumers = [program.start(targets.consume, queue, results, lock) for _ in range(3)]
    for number in range(30):
        queue.put(number)
    for _ in consumers:
        queue.put(None)
    found = [results.get(timeout=SOON_S) for _ in range(30)]
    assert sorted(square for _, square in found) == [number * number for number in range(30)]
    assert {pid for pid, _ in found} <= {consumer.pid for consumer in consumers}
    assert [consumer.wait(SOON_S) for consumer in consumers] == [0] * 3


def test_a_lock_of_a_killed_process_is_free_when_its_end_is_known(program: HostingProgram, tmp_path: Path) -> None:
    """A program that has joined it need not wait for any lease."""
    lock = Lock(program.member)
    process = program.start(targets.hold, lock, str(tmp_path / "held"))
    wait_until((tmp_path / "held").exists, SOON_S, "it has the lock")
    assert not lock.acquire(block=False)
    process.kill()
    assert process.wait(SOON_S) == -9
    assert lock.acquire(block=False)
    lock.release()


def test_lines_of_several_processes_are_whole_and_in_order(program: HostingProgram) -> None:
    """However many print at once; each process's lines come in its order."""
    processes = [program.start(targets.lines, f"p{number}", 300) for number in range(4)]
    assert [process.wait(SOON_S) for process in processes] == [0] * 4
    for text in (program.stdout, program.stderr):
        for number in range(4):
            mine = [line for line in text.splitlines() if line.startswith(f"p{number} ")]
            assert mine == [f"p{number} {each}" for each in range(300)]
        assert len(text.splitlines()) == 1200


def test_pieces_of_a_line_come_as_they_are_printed(program: HostingProgram) -> None:
    """A progress bar is seen to move."""
    process = program.start(targets.pieces)
    wait_until(lambda: "\r1" in program.stdout, SOON_S, "it is at 1")
    assert process.poll() is None
    assert process.wait(SOON_S) == 0
    assert program.stdout == "\r0\r1\r2\n"


def test_nothing_of_a_long_line_is_lost(program: HostingProgram) -> None:
    """A few MB without a line's end, in the midst of which a piece may end, but no character."""
    assert program.start(targets.long_line, 5_000_000).wait(SOON_S) == 0
    assert program.stdout == "x" * 5_000_000 + "€\n"


def test_odd_output_harms_nothing(program: HostingProgram) -> None:
    """Bytes that are no text, and a process that has closed its streams."""
    assert program.start(targets.odd_bytes).wait(SOON_S) == 0
    assert program.stdout == "\ufffd\ufffd no text\n"
    assert program.start(targets.close_streams).wait(SOON_S) is not None


def test_a_process_is_where_its_program_is(
    program: HostingProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Working folder, arguments and environment are the program's; what is of the machine, the worker's."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["program.py", "--fast", "\udcff"])
    monkeypatch.setenv("MODE", "fast")
    monkeypatch.setenv("SHEAF_LABEL", "not mine")
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    assert program.start(targets.where, "MODE", "SHEAF_LABEL", "PYTHONHASHSEED").wait(SOON_S) == 0
    assert program.stdout == f"{folder}|['program.py', '--fast', '\\udcff']|fast|None|None\n"


def test_no_secret_is_in_a_processs_environment(bench: Bench) -> None:
    """Neither the key nor where it is; the pool's children do not have it either."""
    key = bench.person.folder / "the-key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    settings = serve(bench, SHEAF_CLUSTER_KEY_FILE=str(key))
    program = HostingProgram(settings)
    assert program.start(targets.environment).wait(SOON_S) == 0
    assert "SHEAF_CLUSTER_KEY_FILE" not in program.stdout
    assert "SHEAF_REDIS_URL" in program.stdout
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and str(bench.person.data) in _read(entry / "environ"):
            assert "ab" * 32 not in _read(entry / "environ") + _read(entry / "cmdline")
    program.close()


def test_two_hundred_one_after_another_leave_nothing(program: HostingProgram, bench: Bench) -> None:
    """No key beside the program's own, no file, no process, no descriptor."""
    (worker,) = bench.workers
    program.start(targets.say, "warm").wait(SOON_S)
    before = len(names(Path(f"/proc/{worker.pid}/fd")))
    for number in range(200):
        assert program.start(targets.say, number).wait(SOON_S) == 0
    assert program.stdout.split() == ["warm", *map(str, range(200))]
    assert not program.connection.exists(keys.of_program(program.name, keys.MP_PROCESSES), keys.MP_STARTS)
    assert names(bench.person.data / PROGRAMS / program.name / "starts") == []
    wait_until(lambda: len(names(Path(f"/proc/{worker.pid}/fd"))) <= before + 5, SOON_S, "no descriptor is left")
    # One may wait ahead for the next.
    wait_until(lambda: len(hosted_pids(bench)) <= 1, SOON_S, "no process is left")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def hosted_pids(bench: Bench) -> list[int]:
    """The processes that this test's workers host, or have ready."""
    return [pid for pid, command in processes_of(bench.person.folder).items() if "sheaf_worker.hosting.main" in command]


def test_a_killed_workers_processes_have_ended(bench: Bench, tmp_path: Path) -> None:
    """With exit code -9, on other workers as well as for the kernel; those on other workers go on."""
    program = HostingProgram(serve(bench, 2))
    paths = [tmp_path / f"pid-{number}" for number in range(6)]
    processes = [program.start(targets.sleep, str(path)) for path in paths]
    for process in processes:
        assert process.wait_begun(SOON_S)
    wait_until(lambda: all(path.exists() and path.read_text() for path in paths), SOON_S, "all run")
    by_worker = {
        str(process.worker): [each for each in processes if each.worker == process.worker] for process in processes
    }
    assert len(by_worker) == 2, "both host some"
    victim = bench.workers[0]
    theirs = [process for process in processes if _is_child(process.pid, victim.pid)]
    assert 0 < len(theirs) < 6

    victim.kill()

    assert [process.wait(SOON_S) for process in theirs] == [-9] * len(theirs)
    assert not any(Path(f"/proc/{process.pid}").exists() for process in theirs)
    others = [process for process in processes if process not in theirs]
    assert [process.poll() for process in others] == [None] * len(others)
    program.close()
    assert [process.poll() for process in others] == [-9] * len(others)


def test_a_worker_that_stops_ends_its_processes(bench: Bench) -> None:
    """By SIGTERM once its grace period is over; the program hears of it."""
    program = HostingProgram(serve(bench, SHEAF_GRACE_S="1"))
    process = program.start(targets.sleep)
    assert process.wait_begun(SOON_S)
    bench.workers[0].terminate()
    assert process.wait(SOON_S) == -15
    assert bench.workers[0].wait(SOON_S) == 0
    program.close()


#: A program that is killed: it starts processes, says so, and stays.
PROGRAM = """
import sys, time
from pathlib import Path
from sheaf.core.settings import Settings
from tests.integration import hosted_targets as targets
from tests.integration.programs import HostingProgram

program = HostingProgram(Settings.from_env())
folder = Path(sys.argv[1])
processes = [program.start(targets.fork_and_sleep, str(folder / f"pid-{number}")) for number in range(4)]
for process in processes:
    process.wait_begun()
Path(folder / "begun").write_text(program.name)
time.sleep(600)
"""


def start_program(bench: Bench, code: str, *arguments: str) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    environment = bench.person.environment | {"PYTHONPATH": root}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, cwd=bench.person.folder)


def test_a_killed_programs_processes_are_gone(bench: Bench, tmp_path: Path) -> None:
    """With all that they have started, at once and not when its lease is over; its folder too."""
    settings = serve(bench)
    killed = start_program(bench, PROGRAM, str(tmp_path))
    wait_until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text(), SOON_S, "its processes run")
    wait_until(lambda: all((tmp_path / f"pid-{each}").exists() for each in range(4)), SOON_S, "and have begun")
    pids = [pid for number in range(4) for pid in (tmp_path / f"pid-{number}").read_text().split()]
    assert len(pids) == 8
    other = HostingProgram(settings)
    survivor = other.start(targets.sleep)
    assert survivor.wait_begun(SOON_S)

    killed.kill()
    killed.wait()
    # Its lease tells nothing then.
    other.connection.zadd(keys.MP_PROGRAMS, {(tmp_path / "begun").read_text(): 1 << 52})

    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), SOON_S, "they are gone")
    folder = bench.person.data / PROGRAMS / (tmp_path / "begun").read_text()
    wait_until(lambda: not folder.exists(), SOON_S, "its folder is gone")
    wait_until(lambda: other.connection.hlen(keys.MP_SIGNALS_PREFIX) == 0, SOON_S, "no signal is left")
    assert survivor.poll() is None
    other.close()
    wait_until(lambda: names(bench.person.data / PROGRAMS) == [], SOON_S, "no folder is left")


def test_a_lease_that_was_removed_ends_the_processes(program: HostingProgram) -> None:
    """What the program shares is gone then, so that they can do nothing useful."""
    process = program.start(targets.sleep)
    assert process.wait_begun(SOON_S)
    pid = process.pid
    program.program.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), SOON_S, "it is gone")


def test_redis_that_is_away_ends_nothing(bench: Bench) -> None:
    """Processes run on, and what they print and how they end is known when it is back."""
    program = HostingProgram(serve(bench))
    process = program.start(targets.pieces)
    assert process.wait_begun(SOON_S)
    bench.server.kill()
    wait_until(lambda: not Path(f"/proc/{process.pid}").exists(), SOON_S, "it has ended meanwhile")
    bench.server.start()
    assert process.wait(SOON_S) == 0
    assert program.stdout == "\r0\r1\r2\n"
    program.close()


def _is_child(pid: int | None, parent: int) -> bool:
    return f"PPid:\t{parent}\n" in _read(Path(f"/proc/{pid}/status"))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
