"""Nothing grows with what is over: hundreds of runs and segments leave no object, descriptor, thread, key or file."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import redis

from sheaf import Cluster
from sheaf.core.settings import Settings
from tests.console import wait_until
from tests.integration import leaks
from tests.integration.bench import Bench

pytestmark = pytest.mark.redis

#: Calls of a session, each a run of its own, in each of this many sessions; and runs of a person.
CALLS, SESSIONS, RUNS = 30, 6, 20
#: What may be kept, though not for good: it is forgotten by time, and this is over sooner.
FOR_A_WHILE = {
    "sheaf.broker.queue.BatchQueue._released": "a minute",
    "sheaf_worker.commit.buffer.CommitBuffer._lately": "five seconds",
}
#: Growth that is none. Objects: caches hold 64 at most, and may not be full at first. Descriptors: which outputs
#: a worker has open at the moment of a look is chance; each takes a few. The rest: none.
SLACK, FD_SLACK = 70, 12


class Watched:
    """Two workers, a program (this process), Redis and the volume."""

    def __init__(self, bench: Bench, connection: redis.Redis) -> None:
        self._bench, self._connection = bench, connection
        self._files = [bench.person.folder / f"sizes-{number}" for number in range(2)]
        script = str(Path(leaks.__file__))
        self._workers = [bench.worker(script, SHEAF_LEAKS=str(file), SHEAF_POOL_SIZE="1") for file in self._files]

    def look(self) -> Counter[str]:
        found: Counter[str] = Counter({f"here {name}": size for name, size in leaks.sizes().items()})
        pids = [os.getpid(), *(worker.pid for worker in self._workers)]
        found.update(
            {
                f"{what} of process {place}": n
                for place, pid in enumerate(pids)
                for what, n in leaks.process(pid).items()
            }
        )
        for place, (worker, file) in enumerate(zip(self._workers, self._files, strict=True)):
            file.unlink(missing_ok=True)
            worker.send_signal(signal.SIGUSR1)
            wait_until(file.exists, 60, "the worker tells what it keeps")
            found.update({f"worker {place} {name}": size for name, size in json.loads(file.read_text()).items()})
        keys = [name for name in self._connection.keys("*") if self._connection.pttl(name) < 0]
        found["keys in Redis that stay"] = len(keys)
        found["files"] = sum(
            len(names) for folder, _, names in os.walk(self._bench.person.data) if "/runs" not in folder
        )
        return found


def work(bench: Bench) -> None:
    """Each item is a run of its own, or nearly so; some fail, some are given up."""
    settings = Settings.from_env(bench.person.environment)
    for _ in range(SESSIONS):
        with Cluster(settings, data=bench.person.data) as cluster:
            assert [cluster.submit(abs, -number).result(60) for number in range(CALLS)] == list(range(CALLS))
            assert isinstance(next(iter(cluster.map(int, ["x", "y"], failures="return"))), Exception)
            next(iter(cluster.map(abs, range(1000))))
    runs = [bench.call("leaky:same", "1", "2", batch_size=1) for _ in range(RUNS)]
    for run in runs:
        bench.wait_until_done(run, within_s=120)
        wait_until(lambda run=run: run.finished, 60, "the run is marked")  # type: ignore[misc]


def allowed(name: str) -> float:
    """By how much this may have grown."""
    if any(name.endswith(kept) for kept in FOR_A_WHILE):
        return float("inf")
    if name.startswith(("here", "worker")):
        return SLACK
    return FD_SLACK if name.startswith("fd") else 0


def test_nothing_grows_with_what_is_over(bench: Bench) -> None:
    """What is there after the third time was there after the second."""
    tasks = bench.person.folder / "tasks"
    tasks.mkdir()
    (tasks / "leaky.py").write_text("def same(text):\n    return text\n")
    bench.person.environment |= {"SHEAF_TASKS_DIR": str(tasks)}
    with bench.server.client() as connection:
        watched = Watched(bench, connection)
        bench.wait_for_workers()
        # Once for what is there from the first use on, and once more for the processes that a pool keeps in reserve.
        work(bench)
        work(bench)
        before = watched.look()

        work(bench)

        def grown() -> dict[str, tuple[int, int]]:
            after = watched.look()
            return {name: (before[name], size) for name, size in after.items() if size - before[name] > allowed(name)}

        # What is on its way out (the last leases, the leftovers of the last session) has a moment to go.
        try:
            wait_until(lambda: not grown(), 30, "nothing has grown")
        except AssertionError:
            assert grown() == {}
            raise
