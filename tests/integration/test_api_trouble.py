"""The Python interface while things are killed: every result once all the same."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf import Cluster
from sheaf.client.local import PREFIX
from sheaf.core.errors import ClusterError
from tests.console import processes_of, wait_until
from tests.integration.bench import Bench

TASKS = Path(__file__).parent
ITEMS = 600


def test_a_worker_that_is_killed_costs_no_result(bench: Bench, cluster: Cluster) -> None:
    """kill -9 while map is iterated: every result once, in order; one of two goes on alone until another comes."""
    results = cluster.map("api_tasks:nap", range(ITEMS))
    taken = list(itertools.islice(results, 50))
    bench.workers[0].kill()
    taken += itertools.islice(results, 200)
    bench.workers[1].kill()
    bench.worker(SHEAF_TASKS_DIR=str(TASKS))

    taken += results

    assert taken == list(range(ITEMS))


def test_redis_that_forgets_everything_costs_no_result(bench: Bench, cluster: Cluster) -> None:
    """FLUSHALL in the middle: the volume knows what is out."""
    results = cluster.map("api_tasks:nap", range(ITEMS))
    taken = list(itertools.islice(results, 50))
    with bench.server.client() as client:
        client.flushall()

    taken += results

    assert taken == list(range(ITEMS))


def test_redis_that_dies_and_comes_back_costs_no_result(bench: Bench, cluster: Cluster) -> None:
    """Without it the program looks for its results by itself; what it cannot queue, the workers find later."""
    results = cluster.map("api_tasks:nap", range(ITEMS))
    taken = list(itertools.islice(results, 50))
    bench.server.kill()
    taken += itertools.islice(results, 2)
    bench.server.start()

    taken += results

    assert taken == list(range(ITEMS))


def test_results_that_nobody_wants_are_not_made(bench: Bench, cluster: Cluster) -> None:
    """A map that is left off in the middle does not keep the workers from what comes next."""
    results = cluster.map("api_tasks:nap", itertools.count())
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    results.close()

    assert cluster.submit(pow, 2, 3).result(60) == 8
    assert list(results) == []


def test_what_a_closed_program_had_out_holds_up_nobody(bench: Bench) -> None:
    """A long batch of a session that is gone is let go of; what comes next is served."""
    settings = bench.serve(SHEAF_TASKS_DIR=str(TASKS))
    closed_early = pytest.warns(RuntimeWarning, match="had no result yet")
    with closed_early, Cluster(settings, data=bench.person.data) as first:
        calls = [first.submit("api_tasks:nap", number, 0.3) for number in range(500)]
        assert calls[0].result(60) == 0

    with Cluster(settings, data=bench.person.data) as second:
        assert second.submit(pow, 2, 3).result(40) == 8


SCRIPT = """
import sys, time
from sheaf import Cluster
cluster = Cluster.local(workers=1)
print(cluster.settings.data_dir, cluster.submit(pow, 2, 3).result(), flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("death", ["end", "kill"])
def test_a_local_cluster_ends_with_its_program(tmp_path: Path, death: str) -> None:
    """Whether it closes the cluster, forgets to, or is killed: no process and no folder is left."""
    script = tmp_path / "program.py"
    script.write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}

    with subprocess.Popen(
        [sys.executable, script, "wait" if death == "kill" else ""],
        env=environment | {"TMPDIR": tempfile.gettempdir()},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        folder, value = program.stdout.readline().split()
        if death == "kill":
            assert processes_of(Path(folder))
            program.send_signal(signal.SIGKILL)

    assert value == "8"
    assert Path(folder).name.startswith(PREFIX)
    wait_until(lambda: not processes_of(Path(folder)) and not Path(folder).exists(), 60, "nothing of it is left")


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError])
def test_whatever_ends_the_items_is_raised_and_no_result_is_left_out(
    cluster: Cluster, raised: type[BaseException]
) -> None:
    """The program's own iterable calls `sys.exit()`, say: that is no end of the list, and never looks like one."""

    def items() -> Iterator[int]:
        yield from range(5)
        raise raised("in the middle of the list")

    taken = []
    with pytest.raises(raised, match="in the middle"):
        for result in cluster.map("api_tasks:nap", items()):
            taken.append(result)  # noqa: PERF402  what came before is what counts

    assert taken == list(range(5))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "part", ["sheaf.client.session.session.Session._send_all", "sheaf.client.session.receiver.Receiver.run"]
)
def test_a_thread_of_the_session_that_ended_without_a_word_ends_all_that_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """By a SystemExit before it could say anything, say: calls, maps, and later calls, get the error."""
    monkeypatch.setattr(part, lambda _self: None)

    future = cluster.submit("api_tasks:nap", 1)
    with pytest.raises(ClusterError, match=r"session broke .*'sheaf-(sender|receiver)' has ended"):
        future.result(60)
    with pytest.raises(ClusterError, match="a part of this session broke"):
        list(cluster.map("api_tasks:nap", range(3)))
