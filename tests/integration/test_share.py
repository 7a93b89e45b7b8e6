"""Workers of one host share its cores: their pools follow as others come and go."""

from __future__ import annotations

import signal

from sheaf.broker.connection import connect
from sheaf.broker.worker_registry import WorkerRegistry
from sheaf.core.settings import Settings
from sheaf_worker.cores import usable_cores
from tests.console import wait_until
from tests.integration.bench import Bench


def pools(bench: Bench) -> list[int]:
    """The sizes of the live workers' pools."""
    with connect(Settings(redis_url=bench.server.url)) as connection:
        return sorted(int(entry.fields["pool"]) for entry in WorkerRegistry(connection).workers() if not entry.silent)


def test_pools_take_their_part_of_the_cores(bench: Bench) -> None:
    """Alone a worker has all; two have half each; when one is killed, the other has all again."""
    cores = usable_cores()
    half = max(1, cores // 2)
    first = bench.worker(SHEAF_POOL_SIZE="0")
    wait_until(lambda: pools(bench) == [cores], 60, "the only worker has all cores")

    second = bench.worker(SHEAF_POOL_SIZE="0")
    wait_until(lambda: pools(bench) == sorted([half, max(1, cores - half)]), 60, "each worker has half of them")

    second.kill()
    wait_until(lambda: pools(bench) == [cores], 60, "the one that is left has all of them again")
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0


def test_a_pool_that_shrinks_loses_nothing(bench: Bench) -> None:
    """A neighbour comes in mid-run: what the ended processes had is done, once."""
    bench.worker(SHEAF_POOL_SIZE="0")
    run = bench.submit(120)
    bench.wait_until_done(run, more_than=10)

    bench.worker(SHEAF_POOL_SIZE="0")
    bench.wait_until_done(run)

    bench.assert_exactly_once(run)
