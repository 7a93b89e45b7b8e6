"""Several processes commit to one output and are killed and stopped while they do."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.errors import FenceTimeout
from sheaf.output.output import Output
from sheaf.output.repair.verify import verify
from sheaf.run.items import Done
from tests.integration.writers import BATCH_SIZE, ITEMS, RUN, record

WRITERS = Path(__file__).with_name("writers.py")


def start(*arguments: object, stdin: int | None = None, stdout: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(WRITERS), *map(str, arguments)], text=True, stdin=stdin, stdout=stdout)


def create(path: Path) -> None:
    output = Output.create(path, header=b"header\n")
    output.register_run(RUN, ITEMS, BATCH_SIZE)
    output.close()


def assert_exactly_once(path: Path) -> None:
    """Look at the file itself, without the index: each record once, whole; then at the index."""
    lines = path.read_bytes().split(b"\n")
    expected = {record(index)[:-1] for index in range(ITEMS) if index % 10 != 3}
    assert lines[0] == b"header"
    assert lines[-1] == b""
    assert len(lines) - 2 == len(expected)
    assert set(lines[1:-1]) == expected
    report = verify(path.parent, path)
    assert (report.problems, report.missing, report.failed) == ([], 0, ITEMS // 10)


def test_writers_that_are_killed_and_stopped_settle_each_item_once(tmp_path: Path) -> None:
    """Three writers at once, SIGKILL and SIGSTOP every now and then: nothing lost, doubled or torn, and not
    one torn append of ours taken for a stranger's."""
    path = tmp_path / "out.txt"
    create(path)
    chance = random.Random(20260101)
    seeds = iter(range(1, 10_000))
    writers = [start("work", path, f"writer-{seed}", seed) for seed in [next(seeds) for _ in range(3)]]
    killed = 0
    deadline = time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
        time.sleep(chance.uniform(0.1, 0.4))
        place = chance.randrange(len(writers))
        if writers[place].poll() is not None or killed >= 12:
            continue
        if chance.random() < 0.2:
            writers[place].send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            writers[place].send_signal(signal.SIGCONT)
        else:
            writers[place].kill()
            writers[place].wait()
            killed += 1
            seed = next(seeds)
            writers[place] = start("work", path, f"writer-{seed}", seed)

    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert killed > 3
    assert_exactly_once(path)
    assert not list(tmp_path.glob("*.stray-*"))


@pytest.mark.parametrize("step", ["begin", "look", "plan", "note", "append", "sync", "entries", "commit"])
def test_a_process_that_dies_at_a_step_leaves_nothing_that_stops_the_next(tmp_path: Path, step: str) -> None:
    """A real process, gone between two steps of its commit; the next commit settles the same item once."""
    path = tmp_path / "out.txt"
    create(path)
    first = start("die-at", path, step, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    first.communicate("go\n")
    assert first.returncode == 9

    subprocess.run([sys.executable, WRITERS, "commit", path, "7"], check=True)
    subprocess.run([sys.executable, WRITERS, "commit", path, "8"], check=True)

    assert path.read_bytes() == b"header\n" + record(7) + record(8)
    assert verify(tmp_path, path).problems == []
    assert not list(tmp_path.glob("*.stray-*"))


def test_a_transaction_that_was_killed_within_commit_does_not_come_back_to_life(tmp_path: Path) -> None:
    """SQLite's log may hold a whole transaction that its writer died too early to publish. Another writer cuts the
    append that belonged to it, and dies too. When SQLite then repairs its log, that transaction must be gone for
    good: else the index would claim bytes that were cut, and refuse the output for ever."""
    path = tmp_path / "out.txt"
    create(path)
    shared = path.with_name("out.txt.index-shm")
    # Given a second writer that has the output open, and knows nothing of what the first is about to commit,
    second = start("die-at", path, "cut", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert second.stdout is not None
    assert second.stdout.readline() == "open\n"
    before = shared.read_bytes()
    # a first one that is killed between writing its transaction to the log and publishing it (in shared memory)
    subprocess.run([sys.executable, WRITERS, "commit", path, "5"], check=True)
    with open(shared, "r+b") as memory:
        memory.write(before)
    assert path.stat().st_size > 0
    # and the second one dying right after it has cut the first one's append,
    second.communicate("go\n")
    assert second.returncode == 9
    assert path.stat().st_size == 0

    # when the next process opens the index, and SQLite repairs its log,
    subprocess.run([sys.executable, WRITERS, "commit", path, "6"], check=True)

    # then it goes on from what was really committed: nothing.
    assert path.read_bytes() == b"header\n" + record(6)
    assert verify(tmp_path, path).problems == []


def test_a_worker_follows_an_output_that_was_removed_and_made_anew(tmp_path: Path) -> None:
    """Removed without SQLite's side files, which the worker has open: the new index must not
    inherit them."""
    path = tmp_path / "out.txt"
    output = Output.create(path)
    for number in range(100):
        output.register_run(f"run {number}", ITEMS, BATCH_SIZE)
    output.register_run(RUN, ITEMS, BATCH_SIZE)
    worker = start("read", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "open\n"
    output.close()
    path.unlink()
    path.with_name("out.txt.index").unlink()
    assert path.with_name("out.txt.index-shm").exists()

    create(path)
    subprocess.run([sys.executable, WRITERS, "commit", path, "6"], check=True)
    worker.communicate("go\n")

    assert worker.returncode == 0
    assert path.read_bytes() == b"header\n" + record(6) + record(7)
    assert verify(tmp_path, path).problems == []


def test_a_stopped_holder_keeps_others_out_and_is_named(tmp_path: Path) -> None:
    """While it is stopped nothing is written; killed, it makes way at once."""
    path = tmp_path / "out.txt"
    create(path)
    holder = start("stop-at", path, "append")
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)

    output = Output(path, fence_wait_s=0.5)
    with pytest.raises(FenceTimeout, match="second"):
        output.register_run("another", 1, 1)
    assert output.reader.run(RUN).done == 0
    holder.kill()
    holder.wait()
    assert verify(tmp_path, path, RUN).stray_bytes == len(b"header\n" + record(7))
    output.register_run("another", 1, 1)
    output.close()

    subprocess.run([sys.executable, WRITERS, "commit", path, "2"], check=True)
    assert path.read_bytes() == b"header\n" + record(2)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users can reach, as a setgid volume is."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="sheaf-shared-") as name:
        folder = Path(name)
        os.chown(folder, 0, 61000)
        folder.chmod(0o2775)
        yield folder


def test_containers_of_different_users_share_an_output_by_their_group(shared_folder: Path) -> None:
    """One user creates it, another commits and reads, the first goes on; whichever opened it first."""
    umask = os.umask(0o002)
    try:
        create(shared_folder / "out.txt")
        for index in (1, 2):
            joined = start("join", shared_folder / "out.txt", index, stdout=subprocess.PIPE)
            assert joined.communicate()[0] == f"{2 * index - 1}\n"
            output = Output(shared_folder / "out.txt")
            output.commit({RUN: [Done(index + 10, record(index + 10))]}, worker="root", token=1)
            output.close()
    finally:
        os.umask(umask)


def test_a_user_without_rights_is_told_so(shared_folder: Path) -> None:
    """Even reading needs the right to write, for SQLite's side files; the message says so."""
    create(shared_folder / "out.txt")

    answer = start("look", shared_folder / "out.txt", stdout=subprocess.PIPE).communicate()[0]

    assert answer.startswith("OutputUnwritable")
    assert "even for reading" in answer
